//! `sealcast certs`: the cluster's authority, and certificates for nodes that run on their own.

use media::NodeId;

use crate::cli::CertsFlags;

/// Makes what is missing and prints the paths.
///
/// # Errors
/// When a name is not valid or the directory cannot be written.
pub(crate) fn run(flags: &CertsFlags) -> anyhow::Result<()> {
    let authority = node::tls::Authority::ensure(&flags.dir, &node::clock::Clock::new())?;
    let paths = authority.issue(&NodeId::new(&flags.id)?, flags.role.into(), &flags.names)?;
    println!("ca           {}", paths.ca.display());
    println!("certificate  {}", paths.certificate.display());
    println!("private key  {}", paths.key.display());
    Ok(())
}
