-- What the ETL calls a CTAS: a table that is made of a SELECT, anew each time.
-- key: day
select (o.updated_at at time zone 'America/New_York')::date as day, count(*) as orders, sum(o.total) as total
from ${SCHEMA_PREFIX:-}www.orders o
group by 1
