//! A camera's password as a credential of systemd's: found by its name, missed by it, and never told.

use crate::{
    cameras::doorkeeper,
    support::{PATIENCE, process::Daemon, weights::TinyVit},
};

#[test]
fn a_credential_reaches_its_camera_and_nobody_else() {
    let home = tempfile::tempdir().unwrap();
    let weights = home.path().join("tiny.safetensors");
    TinyVit::default().write(&weights, 7);
    let credentials = home.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    std::fs::write(credentials.join("gate"), "hunter2\n").unwrap();
    let (url, given) = doorkeeper();
    let stream = |credential: &str| {
        format!(
            "[streams.gate]\nkind = 'rtsp'\nlocation = '{url}'\nuser = 'me'\n\
             password_file = '$CREDENTIALS_DIRECTORY/{credential}'\n"
        )
    };
    let env = [("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap()), ("MASKD_LOG", "debug")];
    let mut daemon = Daemon::start(home.path(), &weights, &stream("gate"), &env);
    assert_eq!(given.recv_timeout(PATIENCE).unwrap().trim_end(), "Basic bWU6aHVudGVyMg==", "me:hunter2");
    daemon.wait_for_log("stream down");
    daemon.signal("TERM");
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(!daemon.log().contains("hunter2") && !daemon.log().contains("bWU6aHVudGVyMg"), "{}", daemon.log());

    // What is not there is named, before anything starts.
    for (env, said) in [
        (&env[..], "there is no credential yard; LoadCredential in the unit, yard:FILE"),
        (&env[1..], "the service manager gave no credentials; LoadCredential in the unit, yard:FILE"),
    ] {
        let mut daemon = Daemon::start(home.path(), &weights, &stream("yard"), env);
        assert_eq!(daemon.wait().code(), Some(64), "{}", daemon.log());
        let last = daemon.log().lines().last().unwrap().to_owned();
        assert!(last.contains("streams.gate.password_file: ") && last.contains(said), "{last}");
    }
}
