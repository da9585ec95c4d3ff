//! The README's key list is the table the console runs on.

#[test]
fn the_readme_lists_every_key() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(readme).expect("the README is there");
    for (keys, meaning) in app::keys() {
        let row = format!("| `{keys}` | {meaning} |");
        assert!(readme.contains(&row), "README.md lacks the line:\n{row}");
    }
}
