//! Secrets out of files, as engines of containers mount them.

use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::lab::{RECARGA, folder};

async fn verify(variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let output: Output = Command::new(RECARGA)
        .args(["verify", "--gateway", "http://127.0.0.1:1"])
        .env_remove("RECARGA_DATABASE_URL")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), words)
}

#[tokio::test]
async fn a_database_is_named_by_a_file() {
    let place = folder();
    let file = place.path().join("url");
    let url = "postgres://somebody:a-word-nobody-sees@127.0.0.1:1/recarga";
    std::fs::write(&file, format!("{url}\n")).unwrap();
    let file = file.to_str().unwrap();
    let by_file = ("RECARGA_DATABASE_URL_FILE", file);

    // It is where it was sent, and nobody is there.
    let (code, words) = verify(&[by_file]).await;
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("refused"), "{words}");
    assert!(!words.contains("a-word-nobody-sees"), "{words}");

    let (code, words) = verify(&[by_file, ("RECARGA_DATABASE_URL", url)]).await;
    assert_eq!(code, Some(2), "{words}");
    assert!(
        words.contains("both RECARGA_DATABASE_URL and RECARGA_DATABASE_URL_FILE are set"),
        "{words}"
    );
    let (code, words) = verify(&[("RECARGA_DATABASE_URL_FILE", "/nothing/here")]).await;
    assert_eq!(code, Some(2), "{words}");
    assert!(words.contains("/nothing/here cannot be read"), "{words}");
    let (code, words) = verify(&[]).await;
    assert_eq!(code, Some(2), "{words}");
    assert!(
        words.contains("--gateway needs --database-url beside it"),
        "{words}"
    );
}
