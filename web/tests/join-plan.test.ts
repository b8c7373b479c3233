import { describe, expect, it } from 'vitest';
import {
  EARLY_OBJECTS_MAX,
  inTurns,
  joinObjects,
  partRules,
  startVariant,
  variants,
} from '../src/player/join-plan';

const BASE = 'https://node/live/demo/index.m3u8';
const MEDIA = 'https://node/live/demo/720p/index.m3u8';

const MULTIVARIANT = `#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="audio/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=3000000,AVERAGE-BANDWIDTH=2500000,CODECS="avc1.64001f,mp4a.40.2",AUDIO="audio"
720p/index.m3u8
#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=700000,BANDWIDTH=900000,CODECS="avc1.64001e,mp4a.40.2",AUDIO="audio"
360p/index.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=800,URI="720p/iframes.m3u8"
`;

describe('variants', () => {
  it('reads_rungs_and_their_sound', () => {
    expect(variants(MULTIVARIANT, BASE)).toEqual([
      { url: MEDIA, bandwidth: 3_000_000, audio: 'https://node/live/demo/audio/index.m3u8' },
      {
        url: 'https://node/live/demo/360p/index.m3u8',
        bandwidth: 900_000,
        audio: 'https://node/live/demo/audio/index.m3u8',
      },
    ]);
  });

  it('a_rung_without_an_audio_group_has_no_sound_of_its_own', () => {
    expect(variants('#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8', BASE)[0]?.audio).toBeNull();
  });

  it('with_content_steering_are_those_of_the_first_pathway', () => {
    const steered = `#EXTM3U
#EXT-X-CONTENT-STEERING:SERVER-URI="steering.json?listed=b1",PATHWAY-ID="b1"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio-b1",NAME="audio",DEFAULT=YES,URI="https://b1/live/demo/audio/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=3000000,AUDIO="audio-b1",STABLE-VARIANT-ID="720p",PATHWAY-ID="b1"
https://b1/live/demo/720p/index.m3u8
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio-.balancer",NAME="audio",DEFAULT=YES,URI="audio/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=3000000,AUDIO="audio-.balancer",STABLE-VARIANT-ID="720p",PATHWAY-ID=".balancer"
720p/index.m3u8
`;
    expect(variants(steered, BASE)).toEqual([
      {
        url: 'https://b1/live/demo/720p/index.m3u8',
        bandwidth: 3_000_000,
        audio: 'https://b1/live/demo/audio/index.m3u8',
      },
    ]);
  });

  it('finds_nothing_in_what_is_not_a_multivariant_playlist', () => {
    expect(variants('', BASE)).toEqual([]);
    expect(variants('<!doctype html><p>no', BASE)).toEqual([]);
    expect(variants('#EXTM3U\n#EXTINF:4,\n0.m4s', BASE)).toEqual([]);
  });
});

describe('startVariant', () => {
  const all = variants(MULTIVARIANT, BASE);

  it('is_the_best_that_the_bandwidth_carries', () => {
    expect(startVariant(all, 5_000_000)?.bandwidth).toBe(3_000_000);
    expect(startVariant(all, 3_000_000)?.bandwidth).toBe(900_000);
    // The rest of the bandwidth is for catching up.
    expect(startVariant(all, 3_700_000)?.bandwidth).toBe(900_000);
  });

  it('is_the_smallest_when_none_fits', () => {
    expect(startVariant(all, 1)?.bandwidth).toBe(900_000);
    expect(startVariant([], 1)).toBeNull();
  });
});

/** Segments of four parts of half a second; the first and third are independent. */
function playlist(segments: number, openParts: number, control = 'PART-HOLD-BACK=1.5,HOLD-BACK=12'): string {
  const lines = [
    '#EXTM3U',
    `#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,${control}`,
    '#EXT-X-PART-INF:PART-TARGET=0.5',
    '#EXT-X-MAP:URI="1/init.mp4"',
  ];
  const part = (msn: number, index: number): string =>
    `#EXT-X-PART:DURATION=0.5,URI="1/${msn}.${index}.m4s"${index % 2 === 0 ? ',INDEPENDENT=YES' : ''}`;
  for (let msn = 0; msn < segments; msn += 1) {
    for (let index = 0; index < 4; index += 1) lines.push(part(msn, index));
    lines.push('#EXTINF:2,', `1/${msn}.m4s`);
  }
  for (let index = 0; index < openParts; index += 1) lines.push(part(segments, index));
  return lines.join('\n');
}

const names = (text: string, behind = 1.5): string[] =>
  joinObjects(text, MEDIA, behind).map((url) => url.replace('https://node/live/demo/720p/1/', ''));

describe('partRules', () => {
  it('is_what_a_live_playlist_with_parts_asks_for', () => {
    expect(partRules(playlist(3, 1))).toEqual({ partHoldBack: 1.5, partTarget: 0.5 });
    expect(partRules(playlist(3, 1, 'HOLD-BACK=12'))).toBeNull();
    expect(partRules(`${playlist(3, 1)}\n#EXT-X-ENDLIST`)).toBeNull();
    expect(partRules('#EXTM3U')).toBeNull();
  });
});

describe('joinObjects', () => {
  it('begins_at_the_last_independent_part_before_the_place', () => {
    expect(names(playlist(3, 1))).toEqual(['init.mp4', '2.2.m4s', '2.3.m4s', '3.0.m4s']);
    // 1.5 s before the end is within part 2.3, which depends on 2.2.
    expect(names(playlist(3, 2))).toEqual(['init.mp4', '2.2.m4s', '2.3.m4s', '3.0.m4s', '3.1.m4s']);
    expect(names(playlist(3, 1), 0.2)).toEqual(['init.mp4', '3.0.m4s']);
  });

  it('takes_no_more_than_what_is_set_aside_for_it', () => {
    expect(names(playlist(20, 0), 30)).toHaveLength(EARLY_OBJECTS_MAX);
  });

  it('stops_at_a_gap_and_at_another_init_segment', () => {
    const gap = playlist(3, 1).replace('URI="1/2.3.m4s"', 'URI="1/2.3.m4s",GAP=YES');
    expect(names(gap)).toEqual(['init.mp4', '2.2.m4s']);
    const epoch = playlist(3, 0).concat(
      '\n#EXT-X-MAP:URI="2/init.mp4"\n#EXT-X-PART:DURATION=0.5,URI="2/3.0.m4s",INDEPENDENT=YES',
    );
    expect(names(epoch)).toEqual(['init.mp4', '2.2.m4s', '2.3.m4s']);
  });

  it('is_nothing_without_parts_or_a_decodable_one', () => {
    expect(names(playlist(3, 1).replaceAll(',INDEPENDENT=YES', ''))).toEqual([]);
    expect(names('#EXTM3U')).toEqual([]);
  });
});

describe('inTurns', () => {
  it('asks_for_the_beginnings_of_both_renditions_first', () => {
    expect(inTurns(['v0', 'v1', 'v2'], ['a0', 'a1'])).toEqual(['v0', 'a0', 'v1', 'a1', 'v2']);
    expect(inTurns(['v0'], [])).toEqual(['v0']);
    expect(inTurns([], ['a0', 'a1'])).toEqual(['a0', 'a1']);
  });
});
