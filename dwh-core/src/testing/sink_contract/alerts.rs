//! What alerts tell is told once, by one caller, and its end once.

use crate::sink::{AlertClaim, AlertDue, AlertLook, AlertThing, Sink};
use crate::watermark::{Micros, Timestamp};

const HOUR: Micros = Micros::seconds(3600);
const MOMENT: Micros = Micros(1);

fn thing(subject: &str) -> AlertThing {
    AlertThing { check: "stale".to_owned(), subject: subject.to_owned(), message: format!("{subject} is late") }
}

fn look(at: Timestamp, found: &[&str]) -> AlertLook {
    AlertLook {
        alert: "contract".to_owned(),
        project: "p".to_owned(),
        at,
        found: found.iter().map(|subject| thing(subject)).collect(),
        subjects: ["table a", "table b"].map(str::to_owned).to_vec(),
        unknown: Vec::new(),
        by_cause: vec!["failure".to_owned()],
        repeat: HOUR,
        recovered: true,
        dry_run: false,
    }
}

fn told(claim: &AlertClaim) -> Vec<(AlertDue, &str)> {
    claim.due.iter().map(|due| (due.due, due.thing.subject.as_str())).collect()
}

async fn claim(sink: &dyn Sink, look: &AlertLook) -> AlertClaim {
    sink.claim_alerts(look).await.expect("claimed")
}

async fn settled(sink: &dyn Sink, look: &AlertLook, sent: bool) -> AlertClaim {
    let claim = claim(sink, look).await;
    sink.settle_alerts(&claim, sent).await.expect("settled");
    claim
}

/// Asserts what is promised of `claim_alerts` and `settle_alerts`. The sink was told of no alert `contract` before.
///
/// # Panics
/// If the sink breaks a promise.
pub async fn alerts_contract(sink: &dyn Sink) {
    let start = sink.now().await.expect("a clock");
    let at = |moments: i64| start.plus(Micros(moments));
    let (new, again, over) = (AlertDue::New, AlertDue::Again, AlertDue::Recovered);
    let nothing: [(AlertDue, &str); 0] = [];

    let dry = claim(sink, &AlertLook { dry_run: true, ..look(at(0), &["table a"]) }).await;
    assert_eq!(told(&dry), [(new, "table a")], "a dry run tells");
    let first = claim(sink, &look(at(1), &["table a"])).await;
    assert_eq!(told(&first), [(new, "table a")], "and keeps nothing");
    assert_eq!(told(&claim(sink, &look(at(2), &["table a"])).await), nothing, "somebody sends it at this moment");
    assert_eq!(told(&claim(sink, &look(at(3), &[])).await), nothing, "also where it is over already");
    sink.settle_alerts(&first, false).await.expect("settled");
    let second = settled(sink, &look(at(4), &["table a", "table b"]), true).await;
    assert_eq!(told(&second), [(new, "table a"), (new, "table b")], "what could not be sent is due as before");
    assert_eq!(second.due[0].since, at(1), "since it was seen first");
    sink.settle_alerts(&second, false).await.expect("a claim that is settled is nobody's");

    assert_eq!(told(&settled(sink, &look(at(5), &["table a", "table b"]), true).await), nothing, "told once");
    let other = AlertLook { alert: "contract 2".to_owned(), ..look(at(5), &["table a"]) };
    assert_eq!(told(&settled(sink, &other, true).await), [(new, "table a")], "each alert for itself");
    let repeated = AlertLook { repeat: MOMENT, ..look(at(6), &["table a", "table b"]) };
    assert_eq!(told(&settled(sink, &repeated, true).await), [(again, "table a"), (again, "table b")], "after `repeat`");
    let never = AlertLook { repeat: Micros::ZERO, ..look(at(7), &["table a", "table b"]) };
    assert_eq!(told(&settled(sink, &never, true).await), nothing, "zero is never");

    assert_eq!(told(&settled(sink, &look(at(6), &[]), true).await), nothing, "an older look overrules no newer one");
    let unseen = AlertLook {
        unknown: vec![thing("table a"), thing("table b")]
            .into_iter()
            .map(|thing| (thing.check, thing.subject))
            .collect(),
        ..look(at(7), &[])
    };
    assert_eq!(told(&settled(sink, &unseen, true).await), nothing, "what could not be judged goes on");
    let elsewhere = AlertLook { subjects: vec!["table b".to_owned()], ..look(at(8), &[]) };
    assert_eq!(told(&settled(sink, &elsewhere, false).await), [(over, "table b")], "what was not looked at goes on");
    assert_eq!(told(&settled(sink, &look(at(9), &["table a"]), true).await), [(over, "table b")], "due as before");
    assert_eq!(told(&settled(sink, &look(at(10), &["table a"]), true).await), nothing, "over once");
    assert_eq!(told(&settled(sink, &look(at(8), &["table a", "table b"]), true).await), nothing, "an older look");
    let back = settled(sink, &look(at(11), &["table a", "table b"]), true).await;
    assert_eq!((told(&back), back.due[0].since), (vec![(new, "table b")], at(11)), "it came back");
    let silent = AlertLook { recovered: false, ..look(at(12), &[]) };
    assert_eq!(told(&settled(sink, &silent, true).await), nothing, "an end that is not told");
    assert_eq!(told(&settled(sink, &look(at(13), &[]), true).await), nothing, "is kept all the same");

    let fails = |moments: i64, message: &str| {
        let thing = AlertThing { check: "failure".to_owned(), message: message.to_owned(), ..thing("table a") };
        AlertLook { found: vec![thing], ..look(at(moments), &[]) }
    };
    assert_eq!(told(&settled(sink, &fails(14, "run 1: no rights"), true).await), [(new, "table a")]);
    assert_eq!(told(&settled(sink, &fails(15, "run 2: no rights"), true).await), nothing, "the same cause");
    let gone = settled(sink, &fails(16, "run 3: no relation"), false).await;
    assert_eq!((told(&gone), gone.due[0].since), (vec![(new, "table a")], at(16)), "another cause is another thing");
    let gone = settled(sink, &fails(17, "run 4: no relation"), true).await;
    assert_eq!((told(&gone), gone.due[0].since), (vec![(new, "table a")], at(16)), "due as before");
    assert_eq!(told(&settled(sink, &fails(18, "run 5: no relation"), true).await), nothing, "told once");
    assert_eq!(told(&settled(sink, &fails(19, "run 6: no space"), false).await), [(new, "table a")]);
    assert_eq!(told(&settled(sink, &look(at(20), &[]), true).await), [(over, "table a")], "of what was told, the end");
}
