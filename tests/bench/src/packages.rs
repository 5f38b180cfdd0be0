//! A package's way: pushed, installed, asked; and a blob of a gigabyte through the registry.
//!
//! Pushes go to a cluster of three nodes and to Docker's registry in turns, by the same `recoilctl push`, each time with other bytes.
//! An install is counted from the start of `recoilctl install` until every node has answered. The registry's memory is the
//! simulator's, all three nodes together, looked at while the blob goes in and comes out.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use recoil_cluster_tests::{Ports, Program, program, run as run_program};
use tempfile::TempDir;

use crate::figures::{Table, median, megabytes, ms, short, spread, thousands};
use crate::servers::{Recoil, Setup, folder, wait};
use crate::usage::anonymous_bytes;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often pushes and installs are measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long requests are counted.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// MiB of the blob that shows the registry's memory.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    blob_mib: u32,
}

/// Bytes of the package that is pushed.
const PUSHED_BYTES: usize = 20_000_000;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let scratch = folder()?;
    let mut recoil = Setup::new(3, 265)?.start(&[])?;
    // The first push installs what keeps the records.
    push(&recoil.admin(), &package(&scratch, 1000, 0)?, 1000)?;
    let mut table = Table::new(&["what", "median", "lowest-highest"]);
    pushes(options, &scratch, &recoil, &mut table)?;
    installs(options, &mut recoil, &mut table)?;
    requests(options, &scratch, &mut recoil, &mut table)?;
    print!("{table}");
    println!();
    memory(options, &scratch, &recoil)
}

fn row(table: &mut Table, what: String, samples: &[f64], unit: &str) {
    let (lowest, highest) = spread(samples).unwrap_or_default();
    let middle = short(median(samples).unwrap_or_default());
    table.row([what, format!("{middle} {unit}"), format!("{}-{}", short(lowest), short(highest))]);
}

/// A package of so many bytes that nothing has seen before, `seed` being another each time.
fn package(scratch: &TempDir, bytes: usize, seed: u64) -> anyhow::Result<PathBuf> {
    let bundled = recoil::packages::PACKAGES.iter().find(|package| package.name == "bank").context("bank")?;
    let mut archive = bundled.archive.to_vec();
    let mut noise = vec![5];
    noise.extend_from_slice(b"noise");
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    archive.push(0); // a custom section
    let mut length = noise.len();
    while length >= 0x80 {
        archive.push(length as u8 | 0x80);
        length >>= 7;
    }
    archive.push(length as u8);
    archive.extend_from_slice(&noise);
    let file = scratch.path().join(format!("package-{seed}.wasm"));
    std::fs::write(&file, archive)?;
    Ok(file)
}

/// How long a push to the registry at an address takes.
fn push(address: &str, file: &Path, seed: u64) -> anyhow::Result<f64> {
    let target = format!("oci://{address}/bench/noise:1.0.{seed}");
    let begun = Instant::now();
    let ran = run_program(program("recoilctl"), &["push", "--file", &file.to_string_lossy(), &target]);
    ensure!(ran.code == Some(0), "{}", ran.stderr);
    Ok(ms(begun.elapsed()))
}

fn pushes(options: &Options, scratch: &TempDir, recoil: &Recoil, table: &mut Table) -> anyhow::Result<()> {
    let port = Ports::free(1).admin;
    let config = scratch.path().join("registry.yml");
    let root = scratch.path().join("registry");
    std::fs::write(
        &config,
        format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            root.display()
        ),
    )?;
    let docker = format!("127.0.0.1:{port}");
    let log = scratch.path().join("docker-registry");
    let arguments = ["serve".to_owned(), config.display().to_string()];
    let mut peer = Program::start(Path::new("docker-registry"), &arguments, &log);
    wait("docker-registry listens", &mut peer, || Ok(std::net::TcpStream::connect(&docker)?))?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..u64::from(options.rounds) {
        let file = package(scratch, PUSHED_BYTES, round + 1)?;
        theirs.push(push(&docker, &file, round)?);
        ours.push(push(&recoil.admin(), &file, round)?);
        std::fs::remove_file(file)?;
    }
    let ratio = median(&ours).unwrap_or_default() / median(&theirs).unwrap_or(1.0);
    row(table, "push of 20 MB, docker-registry".into(), &theirs, "ms");
    row(table, format!("push of 20 MB, Recoil, 3 nodes ({ratio:.2} times as long)"), &ours, "ms");
    Ok(())
}

/// curl, until a node answers with success.
fn wait_answer(port: u16) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    let url = format!("http://127.0.0.1:{port}/branches/b/accounts/nobody");
    loop {
        let ran = run_program("curl", &["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        if ran.stdout.trim() == "404" {
            return Ok(());
        }
        ensure!(Instant::now() < end, "the bank does not answer: {}", ran.stdout);
    }
}

fn installs(options: &Options, recoil: &mut Recoil, table: &mut Table) -> anyhow::Result<()> {
    let (mut compiled, mut cached) = (Vec::new(), Vec::new());
    let port = recoil.redis_port(0);
    let listen = format!("api={}", port - recoil.setup.offset());
    let ctl = |recoil: &Recoil, words: &[&str]| {
        let ran = run_program(program("recoilctl"), &[&["--server", &recoil.admin()], words].concat());
        ensure!(ran.code == Some(0), "{}", ran.stderr);
        Ok(())
    };
    let scratch = folder()?;
    for round in 0..u64::from(options.rounds) {
        let file = package(&scratch, 1000, 5000 + round)?;
        push(&recoil.admin(), &file, 5000 + round)?;
        let name = format!("bench/noise@1.0.{}", 5000 + round);
        for times in [&mut compiled, &mut cached] {
            let begun = Instant::now();
            ctl(recoil, &["install", &name, "--listen", &listen, "--yes"])?;
            for k in 0..3 {
                wait_answer(port + k)?;
            }
            times.push(ms(begun.elapsed()));
            ctl(recoil, &["uninstall", "bank", "--yes"])?;
        }
    }
    row(table, "install of 230 KB from the registry to serving on 3 nodes, compiled".into(), &compiled, "ms");
    row(table, "the same, compiled code cached".into(), &cached, "ms");
    Ok(())
}

/// What `recoilctl new` makes, built, installed and asked.
fn requests(options: &Options, scratch: &TempDir, recoil: &mut Recoil, table: &mut Table) -> anyhow::Result<()> {
    let author = |folder: &Path, words: &[&str]| {
        let output = std::process::Command::new(program("recoilctl")).args(words).current_dir(folder).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    author(scratch.path(), &["new", "greeter"])?;
    let greeter = scratch.path().join("greeter");
    let begun = Instant::now();
    author(&greeter, &["build"])?;
    row(table, "first `recoilctl build` of a new package".into(), &[ms(begun.elapsed()) / 1000.0], "s");
    let code = std::fs::read_to_string(greeter.join("src/lib.rs"))?;
    std::fs::write(greeter.join("src/lib.rs"), format!("{code}\n// changed\n"))?;
    let begun = Instant::now();
    author(&greeter, &["build"])?;
    row(table, "the next, after a change".into(), &[ms(begun.elapsed()) / 1000.0], "s");

    let port = recoil.redis_port(0);
    let listen = format!("http={}", port - recoil.setup.offset());
    let install = |recoil: &Recoil, name: &str| {
        let words = ["--server", &recoil.admin(), "install", name, "--listen", &listen, "--yes"];
        let ran = run_program(program("recoilctl"), &words);
        ensure!(ran.code == Some(0), "{}", ran.stderr);
        Ok(())
    };
    let file = greeter.join("greeter.wasm");
    install(recoil, &file.to_string_lossy())?;
    for (what, path) in [("without a partition", "/"), ("with a write to one", "/hello/world")] {
        let rate = wrk(options.seconds, port, path)?;
        table.row([format!("requests/s of it, {what}, 32 connections"), thousands(rate), String::new()]);
    }
    run_program(program("recoilctl"), &["--server", &recoil.admin(), "uninstall", "greeter", "--yes"]).ok();
    install(recoil, "wasi-echo")?;
    let rate = wrk(options.seconds, port, "/")?;
    table.row(["requests/s of wasi-echo (wasi:http, an instance for each)".into(), thousands(rate), String::new()]);
    run_program(program("recoilctl"), &["--server", &recoil.admin(), "uninstall", "wasi-echo", "--yes"]).ok();
    Ok(())
}

fn wrk(seconds: u32, port: u16, path: &str) -> anyhow::Result<f64> {
    let duration = format!("-d{seconds}s");
    let ran = run_program("wrk", &["-t1", "-c32", &duration, &format!("http://127.0.0.1:{port}{path}")]);
    let rate = ran.stdout.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:")?.trim().parse().ok());
    rate.with_context(|| format!("wrk measured nothing (apt-get install wrk): {} {}", ran.stdout, ran.stderr))
}

fn memory(options: &Options, scratch: &TempDir, recoil: &Recoil) -> anyhow::Result<()> {
    let (file, back) = (scratch.path().join("blob"), scratch.path().join("back"));
    let bytes = u64::from(options.blob_mib) << 20;
    let head = format!("if=/dev/urandom of={} bs=1M count={}", file.display(), options.blob_mib);
    let words: Vec<&str> = head.split(' ').collect();
    ensure!(run_program("dd", &words).code == Some(0), "dd fails");
    let digest = run_program("sha256sum", &[&file.to_string_lossy()]).ok();
    let digest = format!("sha256:{}", digest.split(' ').next().unwrap_or_default());
    let base = format!("http://{}/v2/bench/blob/blobs", recoil.admin());
    let before = anonymous_bytes(recoil.process())?;
    let (done, most) = (AtomicBool::new(false), AtomicU64::new(before));
    let (sent, received) = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(anonymous_bytes(recoil.process()).unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let measured = (|| {
            let begun = run_program("curl", &["-sS", "-X", "POST", "-D", "-", &format!("{base}/uploads/")]).ok();
            let location = begun.lines().find_map(|line| line.strip_prefix("location: ")).context("no location")?;
            let url = format!("http://{}{}?digest={digest}", recoil.admin(), location.trim());
            let start = Instant::now();
            let data = ["-sS", "-f", "-T", &file.to_string_lossy(), &url];
            let ran = run_program("curl", &data);
            ensure!(ran.code == Some(0), "{}", ran.stderr);
            let sent = start.elapsed();
            let start = Instant::now();
            let ran = run_program("curl", &["-sS", "-f", "-o", &back.to_string_lossy(), &format!("{base}/{digest}")]);
            ensure!(ran.code == Some(0), "{}", ran.stderr);
            Ok((sent, start.elapsed()))
        })();
        done.store(true, Ordering::Relaxed);
        measured
    })?;
    ensure!(run_program("cmp", &[&*file.to_string_lossy(), &*back.to_string_lossy()]).code == Some(0), "other bytes");
    let most = most.load(Ordering::Relaxed);
    let rate = |time: Duration| megabytes(bytes as f64 / time.as_secs_f64());
    println!(
        "A blob of {} MiB: in at {}/s, out at {}/s; memory of three nodes in one process {} before, at most {} meanwhile ({} a node).",
        options.blob_mib,
        rate(sent),
        rate(received),
        megabytes(before as f64),
        megabytes(most as f64),
        megabytes((most - before) as f64 / 3.0),
    );
    Ok(())
}
