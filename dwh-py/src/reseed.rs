//! `reseed`.

use dwh_core::Pipeline;
use dwh_core::pipeline::ReseedRequest;

use crate::backfill::answer;
use crate::call::Call;

/// Read all history of a table again.
pub fn reseed(engine: Pipeline, request: ReseedRequest) -> Call {
    Call::new(|cancel| async move { engine.reseed(&request, &cancel).await }, answer)
}
