//! Asks the linker for a smaller program where it can make one: what stands in it twice is kept once, and the relocations
//! that are read at every start are packed. Less of it is then in memory. What is asked for is first tried on a program of
//! its own, which also has to run: older linkers and C libraries go without.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const WISHES: [&str; 2] = ["-Wl,--icf=all", "-Wl,-z,pack-relative-relocs"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    let here = env::var("TARGET").ok() == env::var("HOST").ok();
    let optimised = env::var("OPT_LEVEL").is_ok_and(|level| level != "0");
    let (Some(compiler), Some(folder)) = (env::var_os("RUSTC"), env::var_os("OUT_DIR")) else {
        return;
    };
    if !(linux && here && optimised) {
        return;
    }
    for wish in WISHES {
        if can(Path::new(&compiler), &PathBuf::from(&folder), wish) {
            println!("cargo:rustc-link-arg-bins={wish}");
        }
    }
}

/// Whether a program that is linked like this runs.
fn can(compiler: &Path, folder: &Path, wish: &str) -> bool {
    let source = folder.join("probe.rs");
    let program = folder.join("probe");
    let text = "fn main() { std::thread::spawn(|| println!(\"{:?}\", std::env::args())).join().unwrap(); }";
    if std::fs::write(&source, text).is_err() {
        return false;
    }
    let mut compile = Command::new(compiler);
    compile.args(["--edition=2024", "-C"]);
    compile.arg(format!("link-arg={wish}"));
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        compile.arg("-C").arg(format!("linker={linker}"));
    }
    if let Ok(flags) = env::var("CARGO_ENCODED_RUSTFLAGS") {
        compile.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    }
    compile.arg("-o").arg(&program).arg(&source);
    succeeds(compile) && succeeds(Command::new(&program))
}

fn succeeds(mut command: Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
