//! How many certificates a CPU-second signs, against the least that it can cost: one P-256 verification (the request
//! proves its key) and one P-256 signature. `cargo bench -p ca`.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey},
};
use ca::{Roots, Source, sign};
use std::{
    hint::black_box,
    process::Command,
    time::{Duration, SystemTime},
};

const ROUNDS: u32 = 20_000;

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 10 };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let now = SystemTime::now();
    let roots = Roots::open(Source::SelfSigned(dir.path().into()), "cluster.local", now).expect("a new root");
    let authority = roots.authority();
    let caller = "spiffe://cluster.local/ns/shop/sa/web".parse().expect("an identity");
    let csrs: Vec<String> = (0..64).map(|_| csr()).collect();
    let signed = per_cpu_second(rounds, |round| {
        let chain = sign(&csrs[round as usize % csrs.len()], &caller, Duration::ZERO, now, &authority);
        black_box(chain.expect("a certificate"));
    });

    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
    let (random, message) = (SystemRandom::new(), [7; 400]);
    let signature = pair.sign(&random, &message).expect("a signature");
    let least = per_cpu_second(rounds, |_| {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, pair.public_key());
        key.verify(&message, signature.as_ref()).expect("it verifies");
        black_box(pair.sign(&random, &message).expect("a signature"));
    });
    println!("certificates signed per CPU-second           {signed:>8.0}");
    println!("bare verify + sign, aws-lc, same process     {least:>8.0}   ratio {:.2}", signed / least);
    if let Some(openssl) = openssl() {
        println!("bare verify + sign, openssl speed ecdsap256  {openssl:>8.0}   ratio {:.2}", signed / openssl);
    }
}

fn csr() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    let uri = "spiffe://cluster.local/ns/shop/sa/web".try_into().expect("ASCII");
    params.subject_alt_names = vec![rcgen::SanType::URI(uri)];
    params.serialize_request(&key).and_then(|csr| csr.pem()).expect("a request")
}

fn per_cpu_second(rounds: u32, mut work: impl FnMut(u32)) -> f64 {
    (0..rounds / 20).for_each(&mut work);
    let start = cpu_time();
    (0..rounds).for_each(&mut work);
    f64::from(rounds) / (cpu_time() - start).as_secs_f64()
}

/// What this thread has spent on a CPU.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let spent = text.split(' ').next().and_then(|spent| spent.parse().ok());
    Duration::from_nanos(spent.expect("nanoseconds"))
}

fn openssl() -> Option<f64> {
    let output = Command::new("openssl").args(["speed", "-seconds", "2", "ecdsap256"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.lines().last()?.split_whitespace().rev().map(str::parse::<f64>);
    let (verify, sign) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(1.0 / (1.0 / sign + 1.0 / verify))
}
