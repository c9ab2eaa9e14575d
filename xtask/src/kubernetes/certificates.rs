//! The credentials of a control plane: one authority, a server, an administrator, a key for service accounts.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Makes all credentials in `folder`; the path of the administrator's kubeconfig.
pub fn make(folder: &Path, api_port: u16) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "freehold-development");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);
    write(folder, "ca.pem", &authority_pem)?;

    let names = [
        "127.0.0.1",
        "10.96.0.1",
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
    ];
    let mut server = CertificateParams::new(names.map(str::to_owned))?;
    server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    issue(folder, "server", &server, &issuer)?;

    let mut administrator = CertificateParams::new(Vec::new())?;
    administrator.distinguished_name.push(DnType::CommonName, "administrator");
    administrator.distinguished_name.push(DnType::OrganizationName, "system:masters");
    administrator.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    issue(folder, "administrator", &administrator, &issuer)?;

    let service_accounts = KeyPair::generate()?;
    write(folder, "service-account.key", &service_accounts.serialize_pem())?;
    write(folder, "service-account.pub", &service_accounts.public_key_pem())?;
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "freehold",
        "clusters": [{"name": "freehold", "cluster": {
            "server": format!("https://127.0.0.1:{api_port}"),
            "certificate-authority": folder.join("ca.pem"),
        }}],
        "users": [{"name": "administrator", "user": {
            "client-certificate": folder.join("administrator.pem"),
            "client-key": folder.join("administrator.key"),
        }}],
        "contexts": [{"name": "freehold", "context": {"cluster": "freehold", "user": "administrator"}}],
    });
    // JSON is YAML.
    write(folder, "kubeconfig", &serde_json::to_string_pretty(&kubeconfig)?)?;
    Ok(folder.join("kubeconfig"))
}

fn issue(
    folder: &Path,
    name: &str,
    parameters: &CertificateParams,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<()> {
    let key = KeyPair::generate()?;
    let certificate = parameters.signed_by(&key, issuer)?;
    write(folder, &format!("{name}.pem"), &certificate.pem())?;
    write(folder, &format!("{name}.key"), &key.serialize_pem())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
