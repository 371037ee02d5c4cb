//! `dwh alert` as people read it.

use dwh_core::operate::{AlertReport, SentAlert};

use super::{Paint, Show, printable};

impl Show for AlertReport {
    fn text(&self, paint: Paint<'_>) -> String {
        self.alerts.iter().map(|alert| told(alert, self.dry_run, paint)).collect()
    }
}

/// Whom, and what; a message is shown where it was not sent.
fn told(alert: &SentAlert, dry_run: bool, paint: Paint<'_>) -> String {
    let whom = format!("alert `{}` ({})", printable(&alert.alert), alert.channel);
    match &alert.text {
        None if alert.error.is_some() => format!("{whom}: {}\n", paint.bad("not sent")),
        None => format!("{whom}: nothing to tell\n"),
        Some(text) if dry_run => {
            let lines: String = text.lines().map(|line| format!("  {}\n", printable(line))).collect();
            format!("{whom}: would send\n{lines}")
        }
        Some(text) => {
            let title = printable(text.lines().next().unwrap_or_default()).into_owned();
            let came = if alert.sent { paint.good("sent") } else { paint.bad("not sent") };
            format!("{whom}: {came}: {title}\n")
        }
    }
}
