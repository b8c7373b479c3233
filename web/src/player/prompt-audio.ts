/**
 * hls.js's audio, without its wait at the start.
 *
 * Sound waits until the first picture has told where the stream's times begin, and hls.js 1.7.4 then only looks again at its next two
 * timer ticks of 100 ms each while it loads parts: 40 to 200 ms of every join. Here it looks at once. To be left out when hls.js does so.
 */

import Hls, {
  type AudioStreamController,
  type Events,
  type InitPTSFoundData,
  type LevelDetails,
  type MediaFragment,
} from 'hls.js';
import { roundedEnd } from './part-edges';

export function promptAudio(): typeof AudioStreamController | undefined {
  const Base = Hls.DefaultConfig.audioStreamController;
  if (!Base) return undefined;
  return class extends Base {
    override onInitPtsFound(event: Events.INIT_PTS_FOUND, data: InitPTSFoundData): void {
      super.onInitPtsFound(event, data);
      // From "waiting" to "idle", and from "idle" to loading.
      this.tick();
      this.tick();
    }

    protected override getFragmentAtPosition(
      bufferEnd: number,
      end: number,
      details: LevelDetails,
    ): MediaFragment | null {
      return super.getFragmentAtPosition(roundedEnd(bufferEnd, this.fragPrevious?.end), end, details);
    }
  };
}
