//! `dwh reseed`.

use dwh_core::Result;
use dwh_core::pipeline::ReseedRequest;

use super::{Context, backfill};
use crate::args::ReseedArgs;
use crate::exit::Exit;

/// Reads all history of a table again.
pub async fn reseed(args: ReseedArgs, context: &Context) -> Result<Exit> {
    let mut request = ReseedRequest::new(args.table);
    request.replace = args.replace;
    request.allow_empty = args.allow_empty;
    request.wait = args.again.wait;
    request.restart = args.again.restart;
    request.dry_run = args.again.dry_run;
    backfill::show(&context.pipeline()?.reseed(&request, &context.cancel).await?, context)
}
