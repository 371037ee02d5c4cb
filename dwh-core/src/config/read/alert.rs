//! The rules of `[[alert]]`.

use std::collections::BTreeSet;

use super::raw::RawAlert;
use super::section::Section;
use super::value;
use crate::config::{AlertChannel, AlertConfig, AlertOn, Secret};
use crate::watermark::Micros;

/// Those that are right; the names are told apart.
pub(super) fn alerts(sections: &[Section<'_, RawAlert>]) -> Vec<AlertConfig> {
    let mut names = BTreeSet::new();
    let mut alerts = Vec::new();
    for section in sections {
        if let Some(alert) = alert(section) {
            if !names.insert(alert.name.clone()) {
                section.problem("name", "another alert has this name; what was sent is kept by it");
            }
            alerts.push(alert);
        }
    }
    alerts
}

fn alert(section: &Section<'_, RawAlert>) -> Option<AlertConfig> {
    let raw = &section.raw;
    let name = section.checked("name", raw.name.as_deref(), value::label);
    let repeat = section.checked("repeat", raw.repeat.as_deref(), value::duration);
    if raw.on.as_ref().is_some_and(|on| !on.iter().any(|what| *what != AlertOn::Recovered)) {
        section.problem("on", "must name `failure` or `breach`: without one of them there is nothing to tell");
    }
    Some(AlertConfig {
        name: name?,
        channel: channel(section)?,
        on: raw.on.clone().unwrap_or_else(|| AlertOn::ALL.to_vec()),
        repeat: repeat.unwrap_or(AlertConfig::REPEAT),
        timeout: section.checked("timeout", raw.timeout.as_deref(), limit).unwrap_or(AlertConfig::TIMEOUT),
    })
}

/// Shorter than another machine waits before it sends the same.
fn limit(text: &str) -> Result<Micros, String> {
    match value::patience(text)? {
        limit if limit <= Micros::seconds(60) => Ok(limit),
        _ => Err("must be 60 seconds at most".to_owned()),
    }
}

fn channel(section: &Section<'_, RawAlert>) -> Option<AlertChannel> {
    let ways = ["webhook", "smtp", "command"].into_iter().filter(|way| section.has(way)).count();
    if ways != 1 {
        section.problem("", "must have exactly one of `webhook`, `smtp` and `command`");
        return None;
    }
    for key in ["from", "to"].into_iter().filter(|key| section.has(key) && !section.has("smtp")) {
        section.problem(key, "goes with `smtp` only");
    }
    if section.has("webhook") {
        return webhook(section);
    }
    if section.has("smtp") { mail(section) } else { command(section) }
}

fn webhook(section: &Section<'_, RawAlert>) -> Option<AlertChannel> {
    let address = section.checked("webhook", section.raw.webhook.as_deref(), value::web_address)?;
    Some(AlertChannel::Webhook(Secret::new(address)))
}

fn mail(section: &Section<'_, RawAlert>) -> Option<AlertChannel> {
    let raw = &section.raw;
    let smtp = section.checked("smtp", raw.smtp.as_deref(), value::smtp_address);
    let from = section.checked("from", raw.from.as_deref(), value::mail_address);
    let to = raw.to.as_ref().map(|to| {
        let checked = |address: &String| section.checked("to", Some(address), value::mail_address);
        to.iter().filter_map(checked).collect::<Vec<_>>()
    });
    for (key, missing) in [("from", raw.from.is_none()), ("to", raw.to.as_ref().is_none_or(Vec::is_empty))] {
        if missing && !section.refused(key) {
            section.problem(key, "is missing; a mail needs `from` and `to`");
        }
    }
    Some(AlertChannel::Mail { smtp: Secret::new(smtp?), from: from?, to: to? })
}

fn command(section: &Section<'_, RawAlert>) -> Option<AlertChannel> {
    let words = section.raw.command.as_ref()?;
    if words.first().is_none_or(|program| program.trim().is_empty()) || words.iter().any(|word| word.contains('\0')) {
        section.problem("command", "must be a program and its arguments, such as `[\"notify-send\", \"dwh\"]`");
        return None;
    }
    Some(AlertChannel::Command(words.iter().map(Secret::new).collect()))
}

#[cfg(test)]
mod tests {
    use crate::config::{AlertChannel, AlertOn, Config, Environment};
    use crate::watermark::Micros;

    fn parse(alerts: &str) -> crate::Result<Config> {
        let text = format!(
            "[project]\nname = \"p\"\n[source.s]\nurl = \"x\"\n[target]\nurl = \"x\"\n[blob]\nurl = \"file:///x\"\n{alerts}"
        );
        Config::parse(&text, "dwh.toml".as_ref(), Environment::from_iter([("HOOK", "https://hooks.example/canary")]))
    }

    fn problems(lines: &str) -> String {
        let error = parse(&format!("[[alert]]\n{lines}")).expect_err("refused").to_string();
        assert!(!error.contains("canary"), "{error}");
        error.lines().skip(1).map(|line| line.trim().trim_start_matches("dwh.toml:")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_way_is_read_and_hides_its_secret() {
        let config = parse(
            "[[alert]]\nname = \"slack\"\nwebhook = \"${HOOK}\"\n\
             [[alert]]\nname = \"mail\"\nsmtp = \"smtps://me:canary@mail.example\"\nfrom = \"dwh <dwh@example.org>\"\n\
             to = [\"a@example.org\"]\non = [\"failure\"]\nrepeat = \"0\"\ntimeout = \"1s\"\n\
             [[alert]]\nname = \"own\"\ncommand = [\"notify-send\", \"canary\"]\n",
        );
        let config = config.expect("good");
        assert!(!format!("{config:?}").contains("canary"));
        let [slack, mail, own] = &config.alerts[..] else { panic!("three alerts") };
        assert_eq!((slack.on.as_slice(), slack.repeat), (&AlertOn::ALL[..], Micros::seconds(6 * 3600)));
        assert!(matches!(&slack.channel, AlertChannel::Webhook(at) if at.expose() == "https://hooks.example/canary"));
        assert_eq!((mail.on.as_slice(), mail.repeat), (&[AlertOn::Failure][..], Micros::ZERO));
        assert_eq!((slack.timeout, mail.timeout), (Micros::seconds(10), Micros::seconds(1)));
        assert!(matches!(&mail.channel, AlertChannel::Mail { to, .. } if to == &["a@example.org"]));
        assert!(matches!(&own.channel, AlertChannel::Command(words) if words.len() == 2));
        assert!(!config.project.alert_after_run);
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let no_way = "9: alert: must have exactly one of `webhook`, `smtp` and `command`";
        assert_eq!(problems("name = \"a\""), no_way);
        assert_eq!(problems("name = \"a\"\nwebhook = \"http://x\"\ncommand = [\"x\"]"), no_way);
        for (lines, expected) in [
            ("webhook = \"http://x\"", "9: alert.name: is missing"),
            ("name = \"a\"\nwebhook = \"canary\"", "11: alert.webhook: the value is no web address"),
            ("name = \"a\"\nwebhook = \"http://x\"\nto = [\"a@b\"]", "12: alert.to: goes with `smtp` only"),
            ("name = \"a\"\nwebhok = \"http://x\"", "11: alert.webhok: unknown key; did you mean `webhook`?"),
            ("name = \"a\"\nsmtp = \"http://canary\"", "11: alert.smtp: the value is no address of a mail server"),
            ("name = \"a\"\nsmtp = \"smtp://x\"", "9: alert.from: is missing"),
            ("name = \"a\"\nsmtp = \"smtp://me@x\"", "11: alert.smtp: the value has a user without a password"),
            (
                "name = \"a\"\nsmtp = \"smtp://x\"\nfrom = \"a\"\nto = [\"a@b\"]",
                "12: alert.from: `a` is no mail address",
            ),
            ("name = \"a\"\ncommand = []", "11: alert.command: must be a program"),
            ("name = \"a\"\ncommand = [\"x\"]\non = [\"recovered\"]", "12: alert.on: must name `failure` or `breach`"),
            (
                "name = \"a\"\ncommand = [\"x\"]\ntimeout = \"61s\"",
                "12: alert.timeout: `61s` must be 60 seconds at most",
            ),
        ] {
            let found = problems(lines);
            assert!(found.lines().any(|line| line.starts_with(expected)), "{expected}\nis not in\n{found}");
        }
        let twice = "[[alert]]\nname = \"a\"\ncommand = [\"x\"]\n".repeat(2);
        let error = parse(&twice).expect_err("refused").to_string();
        assert!(error.contains("13: alert.name: another alert has this name"), "{error}");
    }

    #[test]
    fn a_run_that_tells_needs_somebody_to_tell() {
        let text = "[project]\nname = \"p\"\nalert_after_run = true\n[source.s]\nurl = \"x\"\n[target]\nurl = \"x\"\n[blob]\nurl = \"file:///x\"\n";
        let parse = |text: &str| Config::parse(text, "dwh.toml".as_ref(), Environment::default());
        let error = parse(text).expect_err("refused").to_string();
        assert!(error.contains("3: project.alert_after_run: needs an `[[alert]]`"), "{error}");
        assert!(
            parse(&format!("{text}[[alert]]\nname = \"a\"\ncommand = [\"x\"]\n"))
                .expect("good")
                .project
                .alert_after_run
        );
    }
}
