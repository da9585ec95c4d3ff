//! Accessibility audits with axe-core, fetched once from the npm registry into the target folder.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use crate::page::Page;

const VERSION: &str = "4.14.1";
/// What the registry says of that version, in hexadecimal.
const SHA512: &str = "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5";

/// Runs every rule on what is our own markup; what Swagger UI and Redoc draw is theirs.
pub async fn audit(page: &Page, what: &str) {
    page.script(axe(), json!([])).await;
    let run = "const done = arguments[arguments.length - 1]; \
        axe.run({exclude: [['#swagger-ui'], ['#reference']]}, {resultTypes: ['violations']}) \
        .then((found) => done(found.violations), (error) => done(String(error)))";
    let found = page.script_later(run, json!([])).await;
    let found = found
        .as_array()
        .unwrap_or_else(|| panic!("axe-core did not run: {found}"));
    let grave: Vec<String> = found
        .iter()
        .filter(|violation| matches!(violation["impact"].as_str(), Some("serious" | "critical")))
        .map(tell)
        .collect();
    assert!(grave.is_empty(), "{what}:\n{}", grave.join("\n"));
}

fn tell(violation: &Value) -> String {
    let nodes = violation["nodes"].as_array().into_iter().flatten();
    let places: Vec<String> = nodes
        .map(|node| format!("  {} {}", node["target"], node["failureSummary"]))
        .collect();
    format!(
        "{}: {}\n{}",
        violation["id"],
        violation["help"],
        places.join("\n")
    )
}

fn axe() -> &'static str {
    static AXE: OnceLock<String> = OnceLock::new();
    AXE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let package = folder.join(format!("axe-core-{VERSION}.tgz"));
        if !is_genuine(&package) {
            fetch(folder, &package);
        }
        let output = Command::new("tar")
            .arg("-xzOf")
            .arg(&package)
            .arg("package/axe.min.js")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    })
}

fn is_genuine(package: &Path) -> bool {
    std::fs::read(package).is_ok_and(|bytes| {
        let digest = Sha512::digest(bytes);
        let hexadecimal = digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        hexadecimal == SHA512
    })
}

/// By npm where there is one, else the package as it is.
fn fetch(folder: &Path, package: &PathBuf) {
    let draft = tempfile::tempdir_in(folder).unwrap();
    let name = format!("axe-core-{VERSION}.tgz");
    let by_npm = Command::new("npm")
        .args(["pack", &format!("axe-core@{VERSION}"), "--silent"])
        .current_dir(draft.path())
        .output();
    if !by_npm.is_ok_and(|output| output.status.success()) {
        let url = format!("https://registry.npmjs.org/axe-core/-/{name}");
        let _ = Command::new("curl")
            .args(["-sSfLO", &url])
            .current_dir(draft.path())
            .status();
    }
    let fetched = draft.path().join(&name);
    assert!(
        is_genuine(&fetched),
        "axe-core {VERSION} could not be fetched by npm or curl; put its package at {}",
        package.display()
    );
    std::fs::rename(fetched, package).unwrap();
}
