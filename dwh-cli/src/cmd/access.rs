//! `dwh setup` and `dwh user …`.

use dwh_core::Result;
use dwh_core::operate::{AccessReport, AddUserRequest, RemoveUserRequest, SetupRequest};

use super::{Context, password};
use crate::args::{AddUserArgs, RemoveUserArgs, SetupArgs, UserCommand};
use crate::exit::Exit;

/// Makes roles, rights and schemas, or tells what is missing.
pub async fn setup(args: SetupArgs, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    let mut request = SetupRequest::default();
    if args.password_stdin {
        request.password = Some(password::from_stdin(context).await?);
    } else if !args.dry_run && password::can_ask(context) {
        request.dry_run = true;
        let planned = context.unless_cancelled(pipeline.setup(&request)).await?;
        request.password = password::for_login(&planned, context).await?;
    }
    request.dry_run = args.dry_run;
    told(&context.unless_cancelled(pipeline.setup(&request)).await?, context)
}

/// Makes or removes a login.
pub async fn user(command: UserCommand, context: &Context) -> Result<Exit> {
    match command {
        UserCommand::Add(args) => add(args, context).await,
        UserCommand::Remove(args) => remove(args, context).await,
    }
}

async fn add(args: AddUserArgs, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    let mut request = AddUserRequest::new(&args.name);
    request.group = args.group;
    // Named without a name: as the login.
    request.schema = args.schema.map(|schema| if schema.is_empty() { args.name.clone() } else { schema });
    if args.password_stdin {
        request.password = Some(password::from_stdin(context).await?);
    } else if !args.dry_run && password::can_ask(context) {
        request.dry_run = true;
        let planned = context.unless_cancelled(pipeline.add_user(&request)).await?;
        request.password = password::for_login(&planned, context).await?;
    }
    request.dry_run = args.dry_run;
    told(&context.unless_cancelled(pipeline.add_user(&request)).await?, context)
}

async fn remove(args: RemoveUserArgs, context: &Context) -> Result<Exit> {
    let mut request = RemoveUserRequest::new(args.name);
    (request.reassign, request.dry_run) = (args.reassign, args.dry_run);
    let pipeline = context.pipeline()?;
    told(&context.unless_cancelled(pipeline.remove_user(&request)).await?, context)
}

fn told(report: &AccessReport, context: &Context) -> Result<Exit> {
    report.notes.iter().for_each(|note| context.printer.note(note));
    context.printer.show(report)?;
    Ok(Exit::DONE)
}
