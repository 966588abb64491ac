//! Compiles the .proto files with protox, so that no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["envoy/service/discovery/v3/ads.proto", "istio/v1/auth/ca.proto"];
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    tonic_prost_build::configure().bytes(".envoy.service.discovery.v3").compile_fds(protox::compile(files, ["."])?)?;
    Ok(())
}
