/** The controls of Media Chrome that the page uses, made to work under its content security policy. */

import MediaControlBar from 'media-chrome/media-control-bar';
import MediaController from 'media-chrome/media-controller';
import MediaFullscreenButton from 'media-chrome/media-fullscreen-button';
import MediaGestureReceiver from 'media-chrome/media-gesture-receiver';
import MediaMuteButton from 'media-chrome/media-mute-button';
import MediaPipButton from 'media-chrome/media-pip-button';
import MediaPlayButton from 'media-chrome/media-play-button';
import MediaTooltip from 'media-chrome/media-tooltip';
import MediaVolumeRange from 'media-chrome/media-volume-range';
import { adoptStyles } from './strict-styles';

adoptStyles([
  MediaControlBar,
  MediaController,
  MediaFullscreenButton,
  MediaGestureReceiver,
  MediaMuteButton,
  MediaPipButton,
  MediaPlayButton,
  MediaTooltip,
  MediaVolumeRange,
]);
