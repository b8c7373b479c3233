//! Thumbnails: ffmpeg decodes them, and the clock in the picture proves that they show what they should.

use std::path::Path;
use std::process::Command;

use ingest::pipeline::{PassThrough, Preset, RungConfig};
use media::{MediaSequence, ObjectName, PartIndex, Slot};
use seal::Sealed;
use source::clock::{self, UnixMillis};

use crate::cluster::{Cluster, KEY};

/// The clock in the first picture of a file, and the picture's codec and size.
fn clock_of(path: &Path) -> (UnixMillis, String) {
    let tool = |name: &str, arguments: &[&str]| {
        let output = Command::new(name).args(["-v", "error"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let file = path.to_str().unwrap();
    let entries = ["-select_streams", "v", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0", file];
    let what = String::from_utf8(tool("ffprobe", &entries)).unwrap().trim().to_owned();
    let mut numbers = what.split(',').skip(1).map(|number| number.parse::<usize>().unwrap());
    let (width, height) = (numbers.next().unwrap(), numbers.next().unwrap());
    let gray = ["-i", file, "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-"];
    let picture = tool("ffmpeg", &gray);
    assert_eq!(picture.len(), width * height);
    let time = clock::read(&picture, width, height, width);
    (time.unwrap_or_else(|| panic!("no clock in {file}")), what)
}

/// Names of the images in the log.
fn images(seals: &[Sealed]) -> Vec<ObjectName> {
    let named = seals.iter().flat_map(|sealed| sealed.body().objects.iter().map(move |object| (sealed, object)));
    let images = named.filter(|(_, object)| matches!(object.slot, Slot::Image { .. }));
    images
        .map(|(sealed, object)| ObjectName {
            stream: sealed.body().stream.clone(),
            rendition: object.rendition.clone(),
            epoch: sealed.body().epoch,
            slot: object.slot,
        })
        .collect()
}

/// Publishes the source's clock until two segments have an image; checks both against the media that was sealed with them.
async fn shows_the_first_picture_of_each_segment(cluster: Cluster, of: &str, what: &str) {
    let config = source::Config {
        url: format!("rtmp://{}/live", cluster.rtmp),
        key: KEY.to_owned(),
        width: 640,
        height: 360,
        ..source::Config::default()
    };
    let shutdown = source::CancellationToken::new();
    let publisher = tokio::spawn(source::Source::load(config).unwrap().run(shutdown.clone()));
    let complete = |seals: &[Sealed]| seals.iter().all(|sealed| cluster.receiver.complete(sealed));
    let enough = |seals: Vec<Sealed>| images(&seals).len() >= 2 && complete(&seals);
    cluster.receiver.wait_for("two images", |receiver| enough(receiver.seals())).await;
    shutdown.cancel();
    publisher.await.unwrap().unwrap();
    let receiver = &cluster.receiver;
    let seals = receiver.seals();
    let mut shown = Vec::new();
    for image in images(&seals) {
        let Slot::Image { msn } = image.slot else { unreachable!("an image") };
        assert_eq!(image.rendition.as_str(), of);
        let bytes = receiver.object(&image).unwrap();
        assert!(bytes.len() <= ingest::pipeline::thumbnail::BYTES_MAX, "{} bytes", bytes.len());
        let path = cluster.file(&format!("{msn}.jpg"));
        std::fs::write(&path, bytes).unwrap();
        let (time, found) = clock_of(&path);
        assert_eq!(found, what);
        assert_eq!(time, first_of(&cluster, &image, msn), "thumbnail of segment {msn}");
        shown.push((msn, time));
    }
    assert!(shown.windows(2).all(|pair| pair[1].1.0 - pair[0].1.0 > 1_000), "{shown:?}");
    cluster.stop().await;
}

/// The clock in the first picture of a segment.
fn first_of(cluster: &Cluster, image: &ObjectName, msn: MediaSequence) -> UnixMillis {
    let object = |slot| cluster.receiver.object(&ObjectName { slot, ..image.clone() }).unwrap();
    let path = cluster.file("first.mp4");
    let media = [object(Slot::Init), object(Slot::Part { msn, part: PartIndex(0) })].concat();
    std::fs::write(&path, media).unwrap();
    clock_of(&path).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thumbnail_of_a_source_that_is_passed_through_shows_each_segments_first_picture() {
    let cluster = Cluster::start(|config| {
        config.pipeline.rungs = Some(vec![RungConfig { short_side: 360, kbit_per_second: None }]);
    })
    .await;
    shows_the_first_picture_of_each_segment(cluster, "360p", "mjpeg,320,180").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thumbnail_is_made_from_the_smallest_rung() {
    let cluster = Cluster::start(|config| {
        config.pipeline.pass_through = PassThrough::Never;
        config.pipeline.preset = Preset::Ultrafast;
        let rung = |short_side| RungConfig { short_side, kbit_per_second: None };
        config.pipeline.rungs = Some([360, 270].map(rung).into());
    })
    .await;
    shows_the_first_picture_of_each_segment(cluster, "270p", "mjpeg,320,180").await;
}
