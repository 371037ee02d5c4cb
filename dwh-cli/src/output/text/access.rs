//! `dwh setup` and `dwh user` as people read them: a line for each role, right and schema.

use dwh_core::operate::AccessReport;

use super::plain;
use crate::output::table::{Table, Tone};
use crate::output::{Paint, Show, printable};

impl Show for AccessReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let mut table = Table::new(&["~what", "status", "~statement/1"], paint);
        for step in &self.steps {
            let status = match (&step.sql, step.done) {
                (None, _) => plain("there"),
                (Some(_), true) => ("done".to_owned(), Tone::Good),
                (Some(_), false) => plain("planned"),
            };
            table.row([plain(&step.what), status, plain(step.sql.as_deref().unwrap_or("-"))]);
        }
        let mut text = table.text();
        if let Some(login) = &self.login {
            let role = printable(&login.role);
            text.push_str(&match &login.password {
                Some(password) => {
                    format!("\npassword of `{role}`, shown only this once: {}\n", password.secret().expose())
                }
                None => format!("\n`{role}` gets a password that is made up and shown once, unless you give one\n"),
            });
        }
        text
    }
}
