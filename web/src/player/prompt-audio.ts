/**
 * hls.js's loading of audio, without its wait at the start.
 *
 * Audio waits until the first video tells where the stream's timestamps begin. hls.js 1.7.4 then goes on only at its next two timer ticks
 * of 100 ms each while it loads parts, which costs 40 to 200 ms of every join. Here it goes on at once. Remove this when hls.js does so.
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
      // The first tick goes from "waiting" to "idle", the second from "idle" to loading.
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
