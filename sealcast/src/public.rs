//! The public certificate that viewers and publishers see instead of the node's own: from the operator's files, or from an ACME server.

use std::path::Path;
use std::sync::Arc;

use node::acme::Acme;
use node::tls::PublicPaths;

use crate::settings;

/// Sets the public certificate of a node that viewers connect to. The caller runs the returned ACME client.
///
/// # Errors
/// When the settings or a file are not valid; names the field or file.
pub(crate) fn load(settings: &settings::File, context: &node::Context) -> anyhow::Result<Option<Acme>> {
    show_files(settings, context)?;
    let acme = settings.acme.clone().map(|config| {
        let identity = Arc::clone(&context.identity);
        Acme::load(config, identity, context.clock, &context.data)
    });
    acme.transpose()
}

/// Sets the public certificate of a node that publishers connect to. The node asks no ACME server, because an ACME server connects to
/// the viewers' port. It shows the certificate that another node obtains: the node whose data directory is `obtained_by`, or any
/// node that shares `acme.state` with it.
///
/// # Errors
/// When the settings or a file are not valid; names the field or file.
pub(crate) fn show(
    settings: &settings::File,
    context: &node::Context,
    obtained_by: Option<&Path>,
) -> anyhow::Result<()> {
    show_files(settings, context)?;
    match (&settings.acme, obtained_by) {
        (Some(acme), Some(data)) => context.identity.add_public(acme.obtained(data)),
        (Some(acme), None) if acme.state.is_some() => context.identity.add_public(acme.obtained(&context.data)),
        _ => Ok(()),
    }
}

fn show_files(settings: &settings::File, context: &node::Context) -> anyhow::Result<()> {
    if let (Some(certificate), Some(key)) = (&settings.node.public_certificate, &settings.node.public_key) {
        let (certificate, key) = (certificate.clone(), key.clone());
        context.identity.add_public(PublicPaths { certificate, key, is_made_later: false, challenges: None })?;
    }
    Ok(())
}
