//! A Redis that a test may stop.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use kit::testing::free_address;

pub struct Redis {
    port: u16,
    folder: PathBuf,
    process: Child,
}

impl Redis {
    pub fn start(folder: &Path) -> Self {
        let port = free_address().port();
        Self::start_at(folder, port)
    }

    fn start_at(folder: &Path, port: u16) -> Self {
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--appendonly", "no", "--save", "", "--dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        Self {
            port,
            folder: folder.to_owned(),
            process,
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn kill(&mut self) {
        self.process.kill().expect("it was running");
        self.process.wait().expect("it ends");
    }

    /// `-STOP`: it keeps its connections and answers nothing.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.process.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    pub fn restart(&mut self) {
        *self = Self::start_at(&self.folder.clone(), self.port);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
