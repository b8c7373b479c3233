//! The certificate that viewers and publishers see, when it is not the node's own: files of somebody else's making, or from an ACME server.

use std::path::Path;
use std::sync::Arc;

use node::acme::Acme;
use node::tls::PublicPaths;

use crate::settings;

/// Has a node that viewers connect to show what the settings say. The returned part has to run.
///
/// # Errors
/// Names the field or file.
pub(crate) fn load(settings: &settings::File, context: &node::Context) -> anyhow::Result<Option<Acme>> {
    show_files(settings, context)?;
    let acme = settings.acme.clone().map(|config| {
        let identity = Arc::clone(&context.identity);
        Acme::load(config, identity, context.clock, &context.data)
    });
    acme.transpose()
}

/// Has a node that publishers connect to show the same. It asks no ACME server for anything, since those connect to the viewers'
/// port; it shows what another node obtains: the one whose directory is `obtained_by`, or any that shares `acme.state` with this one.
///
/// # Errors
/// Names the field or file.
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
