//! Services that are away or refuse, and passwords.

use dwh_core::testing::{S3Server, Server};

use super::Night;

/// Nobody listens there: the port of the discard service, on loopback.
const NOBODY: &str = "postgresql://nobody@127.0.0.1:9/nowhere";

pub async fn the_source_is_away(night: &mut Night) {
    night.write_env(NOBODY, &night.target_url(), "");
    night.dwh(3, &["run"]);
    night.follow();
    night.env("");
    night.follow_all();
}

pub async fn the_target_is_away(night: &mut Night) {
    night.db.src("insert into fleet.trips values (901, 'd1', 1)").await;
    night.project.ok(&["extract", "trips"]);
    night.write_env(&night.source_url(), NOBODY, "");
    night.dwh(3, &["run"]);
    night.follow();
    night.env("");
    night.follow();
    assert!(night.follow().contains("nothing to recover"));
}

pub async fn the_blob_store_is_away(night: &mut Night) {
    let server = S3Server::start_in_process().await;
    let keys = |endpoint: &str| {
        format!(
            "STORE={endpoint}\nAWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={}\n",
            server.access_key, server.secret_key
        )
    };
    let file = format!("url = \"{}\"", night.db.blob_url());
    night.edit(&file, &format!("url = \"s3://{}\"\nendpoint = \"${{STORE}}\"", server.bucket));
    night.env(&keys(&server.endpoint));
    // Into this store instead of the one that the project began with.
    night.project.ok(&["reseed", "trips"]);
    night.project.ok(&["reseed", "position_history"]);
    night.env(&keys("http://127.0.0.1:9"));
    night.db.src("insert into fleet.trips values (901, 'd1', 1)").await;
    night.dwh(3, &["run"]);
    night.follow();
    night.env(&keys(&server.endpoint));
    night.follow_all();
}

pub async fn a_password_is_refused(night: &mut Night) {
    night.write_env(&night.source_url().replacen(":it", ":wrong", 1), &night.target_url(), "");
    night.dwh(3, &["run"]);
    night.follow();
    night.env("");
    night.follow_all();
}

/// On a server of its own: roles belong to the whole cluster.
pub async fn a_password_is_rotated(night: &mut Night) {
    let target = Server::start("rotated");
    let password = Server::PASSWORD.replace('\'', "''");
    target.psql("postgres", "create database warehouse");
    target.psql(
        "warehouse",
        &format!(
            "create extension postgis; create role dwh_owner nologin; create role grafana_ro nologin;
             create role dwh_loader login password '{password}' in role dwh_owner; grant create on database warehouse to dwh_owner"
        ),
    );
    night.write_env(&night.source_url(), &target.url("dwh_loader", "warehouse"), "");
    night.project.ok(&["rebuild"]);
    night.at_target(target);
    night.follow();
    // What \password does, for which it wants a terminal.
    night.target().psql("warehouse", &format!("alter role dwh_loader_2 password '{password}'"));
    let rotated = night.target().url("dwh_loader_2", "warehouse");
    night.write_env(&night.source_url(), &rotated, "");
    night.follow_all();
    night.project.ok(&["run"]);
}
