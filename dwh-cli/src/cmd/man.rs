//! `dwh man`.

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use dwh_core::{Error, ErrorKind, Result};
use std::io;

use super::Context;
use crate::args::Cli;
use crate::exit::Exit;

/// Prints one page for the whole command, a section for each verb.
pub fn man(context: &Context) -> Result<Exit> {
    let page = page().map_err(|error| Error::new(ErrorKind::Internal, "man page: not made").with_source(error))?;
    context.printer.raw(&page)?;
    Ok(Exit::DONE)
}

fn page() -> io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let main = Man::new(command.clone()).manual("dwh manual");
    main.render_title(&mut page)?;
    main.render_name_section(&mut page)?;
    main.render_synopsis_section(&mut page)?;
    main.render_description_section(&mut page)?;
    main.render_options_section(&mut page)?;
    let mut extra = Vec::new();
    main.render_extra_section(&mut extra)?;
    page.extend_from_slice(String::from_utf8_lossy(&extra).replace(".SH EXTRA", ".SH \"EXIT STATUS\"").as_bytes());
    verbs(&command, "dwh", &mut page)?;
    Ok(page)
}

/// A section for each verb below `command`; verbs that only hold others give way to those, and others are followed by them.
fn verbs(command: &Command, path: &str, page: &mut Vec<u8>) -> io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let path = format!("{path} {}", verb.get_name());
        if verb.is_subcommand_required_set() {
            verbs(verb, &path, page)?;
            continue;
        }
        // The options of every command stand at the top of the page.
        let own = verb.clone().bin_name(&path).mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg });
        let man = Man::new(own);
        let mut section = Vec::new();
        man.render_synopsis_section(&mut section)?;
        man.render_description_section(&mut section)?;
        man.render_options_section(&mut section)?;
        man.render_extra_section(&mut section)?;
        let section = String::from_utf8_lossy(&section).replace(".SH EXTRA", ".SH EXAMPLES").replace(".SH ", ".SS ");
        page.extend_from_slice(format!(".SH \"{}\"\n{section}", path.to_uppercase()).as_bytes());
        verbs(verb, &path, page)?;
    }
    Ok(())
}
