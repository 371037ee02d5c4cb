-- kind: view
select day, total from analytics.orders_by_day order by total desc limit 10
