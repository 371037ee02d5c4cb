//! The blob store: every call that a run makes, then what it can do beyond them, each with what is done without it.

use super::about::About;
use super::words::Word;
use crate::blob::{self, Feature, S3Options};
use crate::error::ErrorKind;
use crate::operate::shell::quoted;
use crate::pipeline::Pipeline;

pub(super) async fn check(pipeline: &Pipeline, about: &mut About<'_>) {
    tls(pipeline, about);
    let (store, project) = (pipeline.blobs.as_ref(), &pipeline.config.project.name);
    // A look makes no folder: a mistyped one would be there from then on.
    if let Some(folder) = store.folder().filter(|folder| !folder.exists()) {
        let folder = folder.display();
        about.warn(
            Word::Write,
            format!("`{folder}` is not there: the first run makes it"),
            format!("correct `url` of `[blob]`, or, if it is right: mkdir -p {}", quoted(&folder.to_string())),
        );
        return;
    }
    if let Err(error) = blob::probe(store, project).await {
        about.error(Word::Write, &error);
        return;
    }
    about.ok(Word::Write, format!("{} keeps, gives back, lists, copies and deletes", store.url()));
    match store.abilities(&blob::probe_prefix(project)).await {
        Ok(abilities) => abilities.into_iter().for_each(|ability| tell(ability, about)),
        Err(error) => about.error(Word::Write, &error),
    }
}

fn tell(ability: blob::Ability, about: &mut About<'_>) {
    let word = match ability.feature {
        Feature::ConditionalPut => Word::ConditionalPut,
        Feature::ServerCopy => Word::ServerCopy,
        Feature::Paging => Word::Paging,
        Feature::Multipart => Word::Multipart,
        Feature::Uploads => Word::Uploads,
    };
    if ability.present {
        about.ok(word, ability.message);
        return;
    }
    match ability.feature {
        Feature::Paging | Feature::Multipart => {
            about.fail(word, ErrorKind::Contract, ability.message, "take a store that speaks S3 in full");
        }
        Feature::Uploads => about.warn(
            word,
            ability.message,
            "give the bucket the lifecycle rule `AbortIncompleteMultipartUpload` after 1 day, if the server knows such rules",
        ),
        _ => about.warn(word, ability.message, "nothing; a newer version of the server may do it"),
    }
}

/// Requests to S3 are signed, and what they carry is not hidden.
fn tls(pipeline: &Pipeline, about: &mut About<'_>) {
    let config = &pipeline.config;
    if !config.blob.url.starts_with("s3://") {
        return;
    }
    let Ok(options) = S3Options::resolve(&config.blob, &config.environment) else { return };
    let here = ["127.0.0.1", "localhost", "[::1]"];
    match options.endpoint.strip_prefix("http://") {
        None => about.ok(Word::Tls, "requests go over TLS"),
        Some(host) if here.iter().any(|name| host.split(['/']).next().is_some_and(|host| host.starts_with(name))) => {
            about.ok(Word::Tls, "no TLS; the server is on this machine");
        }
        Some(_) => about.warn(
            Word::Tls,
            format!("`{}` is not encrypted: anyone on the way reads the files", options.endpoint),
            "take the `https://` address of the server as `endpoint`",
        ),
    }
}
