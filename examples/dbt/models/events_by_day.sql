select recorded_at::date as day, count(*) as events
from {{ source('bronze', 'events') }}
group by 1
