-- What came since the last time, however late it was: asks when rows were written into bronze, not for their own stamps.
-- The table needs `metadata = ["_loaded_at"]` in dwh.toml.
{{ config(materialized='incremental', unique_key='id') }}
select id, note, recorded_at, _loaded_at
from {{ source('bronze', 'events') }}
{% if is_incremental() %}
where _loaded_at > (select coalesce(max(_loaded_at), '-infinity') from {{ this }})
{% endif %}
