//! The watch page with what a join reads first: the stream's playlists. A browser that has to ask for them loses two round trips, one
//! after the other, before it knows which media to load.
//!
//! They stand in a data block that no browser executes, so the content security policy holds, and the page's script reads it
//! (`web/src/player/early.ts`). Without it, the script asks for the playlists.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use gate::{Lists, Look, Rendered};
use media::StreamId;
use playlist::reload::Directives;

use super::site::Site;
use super::{Reach, web};

/// Most bytes of playlists in a page: a ladder of six rungs has some 15 kB. With more, the page would wait for what it does not need.
const PLAYLISTS_BYTES_MAX: usize = 64 * 1024;
/// Where the block stands: the preload scanner has seen the scripts and styles by then.
const BEFORE: &str = "</head>";
/// How the name of the player's script begins, which only this page loads.
const SCRIPT: &str = "assets/watch-";

/// The path of the player's script; `None` when the web app is built under other names.
pub(super) static PLAYER_SCRIPT: LazyLock<Option<String>> = LazyLock::new(|| {
    let mut names = web::names().filter(|name| name.starts_with(SCRIPT) && name.ends_with(".js"));
    names.next().map(|name| format!("/{name}"))
});

/// The page with the playlists of a stream that everybody may watch; `None` when this node has none of them.
pub(super) fn page(site: &Site, stream: &StreamId) -> Option<Rendered> {
    if !site.settings.access.is_for_everybody(stream) {
        return None;
    }
    let playlists = playlists(site, stream)?;
    if playlists.values().map(String::len).sum::<usize>() > PLAYLISTS_BYTES_MAX {
        return None;
    }
    let page = std::str::from_utf8(web::Page::Viewer.file().rendered.identity()).ok()?;
    let (head, rest) = page.split_once(BEFORE)?;
    // Within a script, only `<` can end the block or change how it is read.
    let json = serde_json::to_string(&playlists).ok()?.replace('<', "\\u003c");
    let block = format!("<script type=\"application/json\" id=\"join\">{json}</script>");
    Some(site.pages.shared(stream, format!("{head}{block}{BEFORE}{rest}")))
}

/// The multivariant playlist and the media playlists of a live stream, by path.
fn playlists(site: &Site, stream: &StreamId) -> Option<BTreeMap<String, String>> {
    let text = |rendered: &Rendered| String::from_utf8(rendered.identity().to_vec()).ok();
    let multivariant = match &site.settings.direct {
        Some(direct) => site.snapshots.steered(stream, &direct.listed((&site.settings.node, stream), ""))?,
        None => text(&site.snapshots.multivariant(stream, Reach::Live)?)?,
    };
    let mut found = BTreeMap::from([(format!("/live/{stream}/index.m3u8"), multivariant)]);
    for rendition in site.snapshots.stream(stream)?.summary.renditions {
        let name = rendition.name;
        let live = (Lists::Media, Reach::Live);
        if let Look::Here(playlist) = site.snapshots.playlist(stream, &name, live, &Directives::default())
            && !playlist.is_ended
        {
            found.insert(format!("/live/{stream}/{name}/index.m3u8"), text(&playlist.text)?);
        }
    }
    Some(found)
}
