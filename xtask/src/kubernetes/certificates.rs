//! The credentials of a cluster: one authority, a server, an administrator, a node, a key for service accounts.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Makes all credentials in `folder`; the path of the administrator's kubeconfig.
pub fn make(folder: &Path, address: &str, port: u16) -> Result<PathBuf> {
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
        address,
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

    for (file, name, group) in [
        ("administrator", "administrator", "system:masters"),
        ("kubelet", "system:node:freehold-node", "system:nodes"),
    ] {
        let mut client = CertificateParams::new(Vec::new())?;
        client.distinguished_name.push(DnType::CommonName, name);
        client.distinguished_name.push(DnType::OrganizationName, group);
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        issue(folder, file, &client, &issuer)?;
    }

    let service_accounts = KeyPair::generate()?;
    write(folder, "service-account.key", &service_accounts.serialize_pem())?;
    write(folder, "service-account.pub", &service_accounts.public_key_pem())?;
    let server = format!("https://{address}:{port}");
    write(folder, "kubeconfig", &kubeconfig(folder, &server, "administrator")?)?;
    write(folder, "kubelet.kubeconfig", &kubeconfig(folder, &server, "kubelet")?)?;
    Ok(folder.join("kubeconfig"))
}

/// How `user` reaches `server`, as JSON, which is YAML.
fn kubeconfig(folder: &Path, server: &str, user: &str) -> Result<String> {
    Ok(serde_json::to_string_pretty(&serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "freehold",
        "clusters": [{"name": "freehold", "cluster": {
            "server": server,
            "certificate-authority": folder.join("ca.pem"),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate": folder.join(format!("{user}.pem")),
            "client-key": folder.join(format!("{user}.key")),
        }}],
        "contexts": [{"name": "freehold", "context": {"cluster": "freehold", "user": user}}],
    }))?)
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
