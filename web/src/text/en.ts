/**
 * What the pages say, in English: sentences are texts or functions here, and in `en-later.ts`, and nowhere else. Another language is two files
 * with the same exports. This one has what first views need, the other what comes when it is opened. Numbers, dates and lengths come formatted
 * (`format.ts`). Pure.
 */

/** What a sentence has places for. */
export type Shown = string | number;

/** The studio's palette of places and actions. */
export const palette = {
  open: 'Go to…',
  keys: 'Ctrl K',
  title: 'Go to a stream or a page, or do something',
  placeholder: 'Name of a stream, a page, an action',
  results: 'Results',
  none: 'Nothing has this name.',
  loading: 'Reading your streams…',
  lost: (why: string): string => `Your streams are missing here: ${why}`,
  count: (count: number): string => (count === 1 ? '1 result' : `${count} results`),
  stream: 'Stream',
  live: 'Live',
  page: 'Page',
  action: 'Action',
  thisStream: 'This stream',
  streams: 'Streams',
  newStream: 'New stream',
  viewersPage: 'Open the viewers’ page',
  signOut: 'Sign out',
  colours: { dark: 'Dark colours', light: 'Light colours', system: 'Colours like the system' },
  tenant: (name: string): string => `Change to ${name}`,
};

/** What several pages of the studio say. */
export const common = {
  bitRate: 'Bit rate',
  cancel: 'Cancel',
  apiKeys: 'API keys',
  iHaveIt: 'I have it',
  actions: 'Actions',
  earlier: 'Earlier',
  later: 'Later',
  nothingIsChanged: 'Nothing is changed',
  members: 'Members',
  streams: 'Streams',
  saved: 'Saved',
  yourRoleChangesNoStreams: 'Your role changes no streams',
  nothingWasSaved: 'Nothing was saved.',
  save: 'Save',
  settings: 'Settings',
};

/** Answers that cannot be read. */
export const apiRead = {
  theAnswerIsMalformedValueIs: (value: Shown, wanted: Shown): string =>
    `the answer is malformed: ${value} is no ${wanted}`,
};

/** Requests that got no answer. */
export const apiRequest = {
  cannotBeRead: (why: string): string => `The server’s answer cannot be read: ${why}.`,
  controlDoesNotAnswer: 'Control does not answer.',
  theServerAnsweredWithStatusStatus: (status: Shown): string => `The server answered with status ${status}.`,
  theServerDidNotAnswerWithin: (value: Shown): string => `The server did not answer within ${value} seconds.`,
  theServerCannotBeReached: 'The server cannot be reached.',
};

/** Buttons that copy. */
export const copyButton = {
  copied: 'Copied',
  copyingFailed: 'Copying failed',
};

/** The head of viewers’ pages. */
export const header = {
  switchToLightColours: 'Switch to light colours',
  switchToDarkColours: 'Switch to dark colours',
  sealcastLiveStreams: 'Sealcast, live streams',
  studio: 'Studio',
  skipToContent: 'Skip to content',
};

/** What covers the picture. */
export const overlay = {
  connecting: 'Connecting…',
  theStreamerIsReconnecting: 'The streamer is reconnecting…',
  thePictureComesBackByItself: 'The picture comes back by itself. You keep your place.',
  theStreamHasEnded: 'The stream has ended',
  shouldItStartAgainItPlays: 'Should it start again, it plays here by itself.',
  thisStreamIsNotLive: 'This stream is not live',
  thereIsNoStreamOfThis: 'There is no stream of this name right now. If it starts, it plays here by itself.',
  theStreamCannotBePlayed: 'The stream cannot be played',
  theConnectionFailedSeveralTimesIn: 'The connection failed several times in a row.',
  thisLinkDoesNotOpenThe: 'This link does not open the stream',
  getANewLinkWhereThis: 'Get a new link where this one came from.',
  stoppedThisIsNotTheStream: 'Stopped: this is not the stream that was sealed',
  whatTheServerSentDoesNot: 'What the server sent does not match the streamer’s signatures.',
  tryAgain: 'Try again',
  buffering: 'Buffering',
  seeWhatIsLive: 'See what is live',
};

/** The picture. */
export const picture = {
  liveVideoOfStream: (stream: Shown): string => `Live video of ${stream}`,
};

/** The choice of quality. */
export const qualityMenu = {
  auto: 'Auto',
  quality: 'Quality',
};

/** The bar to go back with. */
export const seekBar = {
  goBackInTheStream: 'Go back in the stream',
  clocktimeTimespanBehindTheLiveEdge: (clockTime: Shown, timeSpan: Shown): string =>
    `${clockTime}, ${timeSpan} behind the live edge`,
};

/** The player’s controls. */
export const stage = {
  jumpToTheLiveEdgeL: 'Jump to the live edge (L)',
  valueSecondsBehindTheLiveEdge: (value: Shown): string => `, ${value} seconds behind the live edge`,
  live: 'Live',
  jumpToTheLiveEdge: 'Jump to the live edge',
  tapForSound: 'Tap for sound',
};

/** The player’s measurements. */
export const statsPanel = {
  none: 'none',
  nudges: (count: number): string => (count === 1 ? '1 nudge' : `${count} nudges`),
  reloads: (count: number): string => (count === 1 ? '1 reload' : `${count} reloads`),
  restarts: (count: number): string => (count === 1 ? '1 restart' : `${count} restarts`),
  latencyAim: (latency: Shown, aim: Shown): string => `${latency} (aim ${aim})`,
  stallsInAll: (count: Shown, value: Shown): string => `${count} (${value} s in all)`,
  fromTheClockInThePicture: 'From the clock in the picture to this screen, by this device’s clock',
  howFarNowAndHowFar: 'How far now, and how far the player aims to be',
  byThisDeviceSClock: 'By this device’s clock',
  whatThePageDidAboutA: 'What the page did about a picture that stood still while newer media was listed',
  playback: 'Playback',
  glassToGlass: 'Glass to glass',
  behindTheLiveEdge: 'Behind the live edge',
  ingestToScreen: 'Ingest to screen',
  picture: 'Picture',
  bandwidth: 'Bandwidth',
  buffered: 'Buffered',
  stalls: 'Stalls',
  recoveries: 'Recoveries',
  droppedFrames: 'Dropped frames',
  framesOf: (droppedVideoFrames: Shown, totalVideoFrames: Shown): string =>
    `${droppedVideoFrames} of ${totalVideoFrames}`,
};

/** A stream in a list. */
export const streamCard = {
  live: 'Live',
  reconnecting: 'Reconnecting',
  ended: 'Ended',
  startedStartAgo: (start: Shown): string => `Started ${start} ago`,
  started: 'Started',
};

/** What was checked, and by whom. */
export const verifiedPanel = {
  noneRefused: 'none',
  node: (name: string): string => `node ${name}`,
  checking: 'Checking…',
  verified: 'Verified',
  noNewSeal: 'No new seal',
  notVerified: 'Not verified',
  askingTheBroadcastNodeWhatIt: 'Asking the broadcast node what it has checked…',
  nodeCheckedEverything: (value: Shown): string =>
    `Broadcast node ${value} checked the signature and the SHA-256 digest of everything it serves here, before serving it.`,
  thisPageHasHeardOfNo: (value: Shown): string =>
    `This page has heard of no new seal from broadcast node ${value} for a while. What it served before was checked.`,
  theBroadcastNodeHasMadeNo: 'The broadcast node has made no statement about this stream.',
  checkedHere: 'Checked here',
  notChecked: 'Not checked',
  notGenuine: 'Not genuine',
  thisBrowserBeginsToCheckWhat: 'This browser begins to check what it plays…',
  cameBeforeItsChecks: (integer: Shown): string => `; ${integer} came before its checks`,
  checkedByThisBrowser: (integer: Shown, integer2: Shown, integer3: Shown, rest: Shown): string =>
    `Checked by this browser: ${integer} seals, ${integer2} of ${integer3} objects${rest}.`,
  notCheckedAtTheMoment: (value: Shown): string => `Not checked at the moment. ${value}`,
  whatCameIsNotWhatWas: 'What came is not what was sealed.',
  notCheckedByThisBrowser: (value: Shown): string => `Not checked by this browser. ${value}`,
  trustTheNewRootKey: 'Trust the new root key',
  copyThe: (value: Shown): string => `Copy ${value}`,
  sealedWith: 'Sealed with',
  rootKey: 'Root key',
  itIs: 'It is',
  controlSaidSo: 'Control said so',
  checkedBy: 'Checked by',
  algorithm: 'Algorithm',
  signingKey: 'Signing key',
  newestSeal: 'Newest seal',
  placeInTheLog: 'Place in the log',
  sealedAt: 'Sealed at',
  admitted: 'Admitted',
  sealsAdmitted: 'Seals admitted',
  refused: 'Refused',
  verification: 'Verification',
  whatTheNodeSays: 'What the node says',
  theServerThatShowsYouThis:
    'The server that shows you this page also sent the code that checks it. To depend on no server, use a page from elsewhere, or compare the root key with the one that the operator publishes.',
  saidLongAgoByThisDevice: (said: Shown): string => `${said}: long ago, by this device’s clock`,
  fips204APostQuantumSignature: 'FIPS 204, a post-quantum signature',
  epochAndSeal: (integer: Shown, integer2: Shown): string => `epoch ${integer} · seal ${integer2}`,
  afterSealing: (integer: Shown): string => `${integer} ms after sealing`,
};

/** Figures. */
export const format = {
  valueMin: (value: Shown): string => `${value} min`,
  audio: 'Audio',
};

/** The first page. */
export const home = {
  copyThe: (value: Shown): string => `Copy ${value}`,
  nothingIsLiveRightNow: 'Nothing is live right now',
  streamsAppearHereByThemselvesThe:
    'Streams appear here by themselves the moment they start. Streaming yourself? Point OBS, or any RTMP encoder, here:',
  server: 'Server',
  streamKey: 'Stream key',
  inObsSettingsStreamServiceCustom:
    'In OBS: Settings → Stream → Service “Custom…”. H.264 video and AAC audio, a keyframe every 2 seconds. The address is the usual one; where the operator chose another, ',
  printedIt: ' printed it.',
  liveNow: 'Live now ',
  ended: 'Ended',
  lengthLiveSealcast: (length: Shown): string => `${length} live · Sealcast`,
  theClusterDoesNotAnswerTrying: 'The cluster does not answer. Trying again…',
  liveAndSealed: 'Live, and sealed.',
  everyMomentYouWatchHereWas:
    'Every moment you watch here was signed where it entered and checked before it was shown to you.',
};

/** No page. */
export const notFound = {
  notFoundSealcast: 'Not found · Sealcast',
  thereIsNothingAtThisAddress: 'There is nothing at this address',
  theLinkMayBeOldOr: 'The link may be old, or mistyped.',
  seeWhatIsLive: 'See what is live',
};

/** The watch page. */
export const watch = {
  startedSinceAgo: (since: Shown): string => `Started ${since} ago`,
  liveForSince: (since: Shown): string => `Live for ${since}`,
  upToRunglabel: (rungLabel: Shown): string => `up to ${rungLabel}`,
  aboutThisStream: 'About this stream',
  copyTheAddressOfThisPage: 'Copy the address of this page',
  share: 'Share',
  valueStreamSealcast: (value: Shown, stream: Shown): string => `${value}${stream} · Sealcast`,
  notLive: 'Not live',
  secondsBehindLive: (seconds: Shown): string => `${seconds} behind live`,
  glassToGlassSeconds: (seconds: Shown): string => `Glass to glass ${seconds}`,
  distanceToTheLiveEdge: 'Distance to the live edge',
  fromTheClockInThePicture: 'From the clock in the picture to this screen',
};

/** Forms of the pages before the studio. */
export const form = {
  titleSealcast: (title: Shown): string => `${title} · Sealcast`,
  controlDoesNotAnswerTryAgain: 'Control does not answer. Try again in a moment; broadcasts go on meanwhile.',
};

/** Other ways to sign in. */
export const issuers = {
  signInWithName: (name: Shown): string => `Sign in with ${name}`,
};

/** The set-up page. */
export const setup = {
  linkIsUsed: 'This link is used up',
  itWorkedOnce:
    'It worked once, or its time is over. If you have set up your account with it, sign in. Otherwise ask whoever gave it to you for another one.',
  operatorsWay: 'The operator of the server makes one with',
  setUpSealcast: 'Set up · Sealcast',
  thisPageNeedsItsLink: 'This page needs its link',
  openTheWholeLinkThatYou:
    'Open the whole link that you were given, once more. It works once, and for a limited time.',
  signIn: 'Sign in',
  name: 'Name',
  youSignInWithItWho: 'You sign in with it. Who gets a new password keeps the name.',
  password: 'Password',
  atLeastPasswordCharsMinCharacters: (PASSWORD_CHARS_MIN: Shown): string =>
    `At least ${PASSWORD_CHARS_MIN} characters: a few words are easy to keep and hard to guess.`,
  useAtLeastPasswordCharsMin: (PASSWORD_CHARS_MIN: Shown): string =>
    `Use at least ${PASSWORD_CHARS_MIN} characters.`,
  somebodyHasThisNameWithAnother: 'Somebody has this name, with another password.',
  giveAnotherName: 'Give another name.',
  useAnotherPassword: 'Use another password.',
  welcome: 'Welcome',
  chooseHowYouSignInFrom: 'Choose how you sign in from now on. The link works once.',
  setUpAndSignIn: 'Set up and sign in',
};

/** The sign-in page. */
export const signIn = {
  name: 'Name',
  password: 'Password',
  giveYourName: 'Give your name.',
  giveYourPassword: 'Give your password.',
  nobodyHasSetUpThisServer:
    'Nobody has set up this server yet: open the set-up link that its start has printed.',
  signIn: 'Sign in',
  toTheStudioYourStreamsAnd: 'To the studio: your streams, and how they do.',
  youWereNotSignedInThere: 'You were not signed in there, or may not sign in here.',
  noAccountYetSomebodyWhoOwns:
    'No account yet? Somebody who owns the tenant invites you with a link. The first one of a new server stands in what ',
  hasPrinted: ' has printed.',
};

/** The studio as a whole. */
export const app = {
  thereIsNothingAtThisAddress: 'There is nothing at this address',
  theLinkMayBeOldOr: 'The link may be old, or mistyped',
  seeYourStreams: 'See your streams',
  yourStreamsAreWhereTheyWere: 'Your streams are where they were.',
  theStudioCannotBeShown: 'The studio cannot be shown.',
};

/** Who changed something. */
export const changes = {
  member: 'Member',
  apiKey: 'API key',
  tokenOfAnIssuer: 'Token of an issuer',
  commandOfControl: 'Command of control',
  nobodySignedIn: 'Nobody signed in',
};

/** What an encoder sends, and what could be better. */
export const streamInput = {
  noPicture: 'No picture',
  uploadTooSlow: 'Upload too slow',
  qualitiesLeftOut: 'Qualities left out',
  pictureIsEncodedAgain: 'Picture is encoded again',
  framesAreMissing: 'Frames are missing',
  noSound: 'No sound',
  soundAndPictureApart: 'Sound and picture apart',
  keyframesTooFarApart: 'Keyframes too far apart',
  bitRateBelowTheAnnouncedOne: 'Bit rate below the announced one',
  bitRateAboveTheAnnouncedOne: 'Bit rate above the announced one',
  fasterThanRealTime: 'Faster than real time',
  encoderSClockJumped: 'Encoder’s clock jumped',
  clocksOfSoundAndPictureDiffer: 'Clocks of sound and picture differ',
  damagedPictures: 'Damaged pictures',
  encoderKeepsReconnecting: 'Encoder keeps reconnecting',
  bFramesAddDelay: 'B-frames add delay',
  soundIsEncodedAgain: 'Sound is encoded again',
  valueFps: (value: Shown): string => `${value} fps`,
  picture: 'Picture',
  noneHasCome: 'none has come',
  frameRate: 'Frame rate',
  framesAnnounced: (frames: Shown): string => `${frames} announced`,
  keyframes: 'Keyframes',
  n2SIsBest: '2 s is best',
  topQuality: 'Top quality',
  sound: 'Sound',
  channelsChannels: (channels: Shown): string => `${channels} channels`,
  valueKhz: (value: Shown): string => `${value} kHz`,
  soundAndPicture: 'Sound and picture',
  valueMsApart: (value: Shown): string => `${value} ms apart`,
  droppedFrames: 'Dropped frames',
  sinceItConnected: 'since it connected',
  clockJumps: 'Clock jumps',
  reconnects: 'Reconnects',
  encoder: 'Encoder',
  ingest: 'Ingest',
  valueOfRealTime: (value: Shown): string => `${value} % of real time`,
};

/** Parts that come later. */
export const lazy = {
  thePageCannotBeShown: 'The page cannot be shown.',
  aPartDidNotArrive:
    'A part of the studio did not arrive. The server may have been renewed: load the page again.',
};

/** What viewers see. */
export const preview = {
  whatViewersSee: 'What viewers see',
};

/** Steps to the first broadcast. */
export const steps = {
  yourKeyIsUsed: 'Your key is used',
  aPictureComesIn: 'A picture comes in',
  itIsSealed: 'It is sealed',
  viewersCanPlayIt: 'Viewers can play it',
  onTheWayToYourViewers: 'On the way to your viewers',
  youAreLive: 'You are live.',
  waitingForYourEncoder: 'Waiting for your encoder.',
};

/** A stream in the studio. */
export const streamPage = {
  live: 'Live',
  health: 'Health',
  access: 'Access',
  chat: 'Chat',
  markValueStudioSealcast: (mark: Shown, value: Shown): string => `${mark}${value} · Studio · Sealcast`,
  theEncoderIsAwaySinceClock: (clock: Shown): string => `the encoder is away since ${clock}`,
  viewersPage: 'Viewers’ page ',
  warnings: 'Warnings',
  clockToClock2: (clock: Shown, clock2: Shown): string => `${clock} to ${clock2}`,
  yourEncoderNeedsTheStreamS: 'Your encoder needs the stream’s key (…',
  aLostOneIsReplacedUnder: '). A lost one is replaced under',
  theLastMinuteAMarkFor: 'The last minute: a mark for each second that was sealed, a hollow one for a gap.',
  valueOfRealTime: (value: Shown): string => `${value} % of real time`,
  picture: 'Picture',
  reconnects: 'Reconnects',
  nothingComesIn: 'Nothing comes in',
  seeWhatIsNext: 'See what is next',
  whileAnEncoderIsConnectedThis:
    'While an encoder is connected, this page says what it sends and what could be better.',
  nothingToMend: ' Nothing to mend.',
  whatComesIn: 'What comes in',
  measuredByTheIngestOverThe: 'Measured by the ingest over the last eight seconds,',
  sAgo: ' s ago.',
  stream: 'Stream',
  theStreamCannotBeShown: 'The stream cannot be shown.',
};

/** The streams. */
export const streamsPage = {
  andValueMore: (value: Shown): string => ` and ${value} more`,
  keyHint: (hint: Shown): string => `Key ${hint}`,
  noInput: 'No input',
  noStreamYet: 'No stream yet',
  makeYourFirstStream: 'Make your first stream',
  aStreamHasANameA: 'A stream has a name, a page for its viewers, and a key for your encoder.',
  theseAreTheFirst: 'These are the first ',
  theApiHasAllOfThem: '. The API has all of them.',
  newStream: 'New stream',
  theStreamsCannotBeShown: 'The streams cannot be shown.',
};

/** Changes that wait. */
export const studioSession = {
  controlIsAwayChangesWaitUntil: 'Control is away: changes wait until it is back',
};

/** What stands around the studio. */
export const shell = {
  webhooks: 'Webhooks',
  usage: 'Usage',
  audit: 'Audit',
  studio: 'Studio',
  dark: 'Dark',
  light: 'Light',
  likeTheSystem: 'Like the system',
  tenant: 'Tenant',
  colours: 'Colours',
  signOut: 'Sign out',
  controlIsAwaySince: 'Control is away since ',
  yourBroadcastGoesOnChangesWait: ' Your broadcast goes on. Changes wait.',
  youAreSignedOut: 'You are signed out',
  signInAgainInANew: 'Sign in again in a new tab, and come back: this page keeps what you typed.',
  signIn: 'Sign in',
  goOn: 'Go on',
  skipToContent: 'Skip to content',
  sealcastWhatIsLive: 'Sealcast, what is live',
  menu: 'Menu',
  titleStudioSealcast: (title: Shown): string => `${title} · Studio · Sealcast`,
};

/** Signing out. */
export const signOut = {
  youAreStillSignedInMessage: (message: Shown): string => `You are still signed in: ${message}`,
};

/** States of a stream. */
export const uiBadge = {
  live: 'Live',
  reconnecting: 'Reconnecting',
  ended: 'Ended',
  idle: 'Idle',
};

/** Lines that can be copied. */
export const uiCopy = {
  copied: 'Copied',
  copyingFailedSelectTheText: 'Copying failed: select the text',
  copy: 'Copy',
};

/** What is loading, or failed. */
export const uiLoaded = {
  loading: 'Loading',
  request: 'Request ',
  tryAgain: 'Try again',
  asItWas: 'As it was ',
};

/** Secrets. */
export const uiSecret = {
  hide: 'Hide',
  show: 'Show',
};

/** Graphs. */
export const uiSparkline = {
  noFiguresYet: 'No figures yet.',
  bitrateLowestBitrate2AtClock: (bitrate: Shown, bitrate2: Shown, clock: Shown): string =>
    `${bitrate}, lowest ${bitrate2} at ${clock}`,
  bitRateLastTwoMinutes: 'Bit rate, last two minutes',
  showAsGraph: 'Show as graph',
  showAsTable: 'Show as table',
  time: 'Time',
};

/** Times. */
export const uiTime = {
  durationAgo: (duration: Shown): string => `${duration} ago`,
};

/** What was done. */
export const uiToasts = {
  notDeletedValue: (value: Shown): string => `Not deleted: ${value}`,
  undo: 'Undo',
  dismiss: 'Dismiss',
};
