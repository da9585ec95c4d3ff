//! The Lua scripts, each named once.

/// A script as it stands in its file.
macro_rules! script {
    ($name:ident, $file:literal) => {
        static $name: std::sync::LazyLock<redis::Script> = std::sync::LazyLock::new(|| {
            redis::Script::new(include_str!(concat!("scripts/", $file)))
        });
    };
}

/// A script that announces deletions.
macro_rules! announcing {
    ($name:ident, $file:literal) => {
        static $name: std::sync::LazyLock<redis::Script> = std::sync::LazyLock::new(|| {
            redis::Script::new(concat!(
                include_str!("scripts/announce.lua"),
                include_str!(concat!("scripts/", $file))
            ))
        });
    };
}
