//! The README's key list is the table the console runs on. `RECARGA_UPDATE_README=1` writes it anew.

use std::fmt::Write as _;

const BEGIN: &str = "<!-- keys: written by console/app/tests/readme.rs -->\n";
const END: &str = "<!-- end of keys -->";

#[test]
fn the_readme_lists_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(path).expect("the README is there");
    let begin = readme.find(BEGIN).expect("the keys begin somewhere") + BEGIN.len();
    let end = readme.find(END).expect("the keys end somewhere");
    let mut wanted = String::new();
    for (chapter, keys) in app::keys() {
        let _ = write!(wanted, "\n| {chapter} | |\n|---|---|\n");
        for (keys, meaning) in keys {
            let _ = writeln!(wanted, "| `{}` | {meaning} |", keys.replace('|', "\\|"));
        }
    }
    wanted.push('\n');
    if std::env::var_os("RECARGA_UPDATE_README").is_some() {
        let text = format!("{}{wanted}{}", &readme[..begin], &readme[end..]);
        std::fs::write(path, text).expect("the README can be written");
        return;
    }
    assert!(
        readme[begin..end] == wanted,
        "README.md lists other keys; RECARGA_UPDATE_README=1 cargo test -p app --test readme writes them anew:\n{wanted}"
    );
}
