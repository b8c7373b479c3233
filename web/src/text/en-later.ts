/** What the pages say beyond their first views, in English (`en.ts` says how texts are kept). Pure. */

import type { Shown } from './en';

/** Chat beside a player, and its moderation. */
export const chat = {
  title: 'Chat',
  beside: 'Beside the picture',
  proofTab: 'Proof',
  messages: 'Messages',
  none: 'No messages yet.',
  paused: 'Chat is paused: the server that takes messages is away. The video goes on.',
  goesOn: 'Chat goes on.',
  connecting: 'Connecting to the chat…',
  yourName: 'Your name',
  message: 'Message',
  send: 'Send',
  tagTitle: 'Tells people of one name apart',
  moderator: 'Moderator',
  writesAs: (name: string): string => `You write as ${name}.`,
  notAllowed: 'Only members, and people with a link of their own, write here.',
  signedOut: 'You are not signed in any more. Sign in again, or write under a name of your choice.',
  wait: (seconds: number): string => `Your next message can go in ${seconds} s.`,
  slow: (seconds: number): string => `Slow mode: one message every ${seconds} s.`,
  notSent: 'The message was not sent: the server cannot be reached. Try again.',
  notSentPaused: 'The message was not sent.',
  notTaken: 'The message was not taken.',
  youAreBanned: 'A moderator does not let you write here for a time.',
  newMessages: (count: number): string => (count === 1 ? '1 new message' : `${count} new messages`),
  spoken: (count: number, author: string, text: string): string =>
    count === 1 ? `${author}: ${text}` : `${count} new messages. ${author}: ${text}`,

  moderation: 'Moderation',
  moderate: 'Moderate',
  moderateMessage: (author: string, text: string): string => `Moderate the message of ${author}: ${text}`,
  slowMode: 'Slow mode',
  off: 'Off',
  seconds: (seconds: number): string => (seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`),
  banned: 'Banned people',
  nobodyBanned: 'Nobody is banned.',
  bannedUntil: (time: string): string => `until ${time}`,
  unban: (author: string): string => `Unban ${author}`,
  messageOf: (author: string): string => `Message of ${author}`,
  deleteMessage: 'Delete the message',
  ban: (author: string): string => `Ban ${author}`,
  banFor: 'For',
  banAbout:
    'Deletes all that this person has written here. Whoever has no account and no token is known by the network: others behind it cannot write either.',
  lengths: [
    ['600', '10 minutes'],
    ['3600', 'an hour'],
    ['86400', 'a day'],
  ] as ReadonlyArray<readonly [seconds: string, label: string]>,
  cancel: 'Cancel',
  undo: 'Undo',
  deleted: (author: string): string => `The message of ${author} is deleted.`,
  isBanned: (author: string, length: string): string => `${author} is banned for ${length}.`,
  isUnbanned: (author: string): string => `${author} may write again.`,
  slowIs: (seconds: number): string =>
    seconds === 0 ? 'Slow mode is off.' : `Slow mode is on: one message every ${seconds} s.`,
  failed: (why: string): string => `Nothing was changed. ${why}`,

  /** The studio's page. */
  settings: 'Chat beside the player',
  isOn: 'The chat is',
  on: ['on', 'On', 'It stands beside the picture on the viewers’ page.'] as const,
  isOff: ['off', 'Off', 'The viewers’ page shows the picture alone.'] as const,
  writers: 'Who writes',
  everybody: [
    'everybody',
    'Whoever may watch',
    'Under a name of their choice, or that of their account.',
  ] as const,
  token: [
    'token',
    'Members, and tokens with chat',
    'Whoever is signed in and belongs to this tenant, and holders of viewer tokens that say so.',
  ] as const,
  live: 'Messages',
  offNote: 'Messages stand here while the chat is on.',
};

/** The profile for OBS. */
export const obsProfile = {
  sealcastName: (name: Shown): string => `Sealcast ${name}`,
};

/** The audit. */
export const audit = {
  details: 'Details',
  lengthChanges: (length: Shown): string => `${length} changes`,
  request: 'request: ',
  credential: 'credential: ',
  done: 'Done',
  theAuditCannotBeShown: 'The audit cannot be shown.',
  nothingWasDoneYet: 'Nothing was done yet',
  noMatch: 'No match',
  everyChangeAndEveryRefusalBecomes: 'Every change and every refusal becomes a record here.',
  noRecordHasQInIt: (q: Shown): string => `No record has “${q}” in it.`,
  when: 'When',
  who: 'Who',
  what: 'What',
  result: 'Result',
  changes: 'Changes',
  audit: 'Audit',
  everyChangeAndEveryRefusalWho: 'Every change and every refusal: who, what, when. Secrets are not in it.',
  search: 'Search',
  streamsCreate: 'streams.create',
};

/** A key that is shown once. */
export const keyPanel = {
  streamKey: 'Stream key',
  itIsShownThisOnceWhoever: 'It is shown this once. Whoever has it can broadcast as you.',
  key: 'Key',
  copyKey: 'Copy key',
  settingsStreamTheServiceCustomThis:
    'Settings › Stream: the service “Custom…”, this server, and the key. Settings › Output: a keyframe interval of 2 s.',
  server: 'Server',
  copyServer: 'Copy server',
  noIngestIsThereNow: 'No ingest is there now. Its address appears here as soon as one is.',
  downloadAnObsProfile: 'Download an OBS profile',
  aFolderWithTheseSettingsAnd:
    'A folder with these settings and the key: unpack it, then Profile › Import in OBS.',
  command: 'Command',
  copyCommand: 'Copy command',
  asksForTheKeyBeforeThat:
    ' asks for the key before that, so that it stands in no file and no shell’s history.',
};

/** API keys. */
export const keys = {
  newApiKey: 'New API key',
  theKeyWasNotMade: 'The key was not made.',
  name: 'Name',
  websiteOfTheParish: 'Website of the parish',
  whatItMayDo: 'What it may do',
  scopes: 'Scopes',
  ends: 'Ends',
  makeTheKey: 'Make the key',
  replaceTheSecretOfName: (name: Shown): string => `Replace the secret of “${name}”?`,
  theKeyKeepsItsNameAnd: 'The key keeps its name and rights, and gets another secret.',
  theSecretWasNotReplaced: 'The secret was not replaced.',
  theSecretInUse: 'The secret in use',
  replaceTheSecret: 'Replace the secret',
  nameIsBeingDeleted: (name: Shown): string => `“${name}” is being deleted`,
  yourRoleChangesNoKeys: 'Your role changes no keys',
  lastUsed: 'Last used',
  replaceTheSecretOfName2: (name: Shown): string => `Replace the secret of ${name}`,
  replace: 'Replace',
  deleteName: (name: Shown): string => `Delete ${name}`,
  delete: 'Delete',
  yourRoleMakesNoKeys: 'Your role makes no keys',
  newKey: 'New key',
  forProgramsThatMakeStreamsRead:
    'For programs that make streams, read figures or hand out viewer tokens. People sign in instead.',
  theSecretOf: 'The secret of “',
  itIsShownThisOncePut: 'It is shown this once. Put it where only the program can read it.',
  secret: 'Secret',
  copySecret: 'Copy secret',
  theKeysCannotBeShown: 'The keys cannot be shown.',
  noApiKeyYet: 'No API key yet',
  aKeyLetsAProgramDo: 'A key lets a program do what you could do here.',
  may: 'May',
};

/** Lists with pages. */
export const list = {
  newer: 'Newer',
  older: 'Older',
  thisIsTheFirstPage: 'This is the first page',
  thisIsTheLastPage: 'This is the last page',
};

/** Members. */
export const members = {
  inviteSomebody: 'Invite somebody',
  nobodyWasInvited: 'Nobody was invited.',
  name: 'Name',
  whatYouCallThemHowThey: 'What you call them. How they sign in, they choose themselves.',
  whatTheyMayDo: 'What they may do',
  makeTheLink: 'Make the link',
  nameHasAnotherRole: (name: Shown): string => `“${name}” has another role`,
  whatMayNameDo: (name: Shown): string => `What may “${name}” do?`,
  theRoleWasNotChanged: 'The role was not changed.',
  role: 'Role',
  changeTheRole: 'Change the role',
  active: 'Active',
  suspended: 'Suspended',
  invited: 'Invited',
  until: 'until ',
  yourRoleChangesNoMembers: 'Your role changes no members',
  nameIsBeingRemoved: (name: Shown): string => `“${name}” is being removed`,
  subjectAtIssuer: (subject: Shown, issuer: Shown): string => `${subject} at ${issuer}`,
  changeTheRoleOfName: (name: Shown): string => `Change the role of ${name}`,
  suspend: 'Suspend',
  readmit: 'Readmit',
  newLinkForName: (name: Shown): string => `New link for ${name}`,
  newLink: 'New link',
  removeName: (name: Shown): string => `Remove ${name}`,
  remove: 'Remove',
  theLinkFor: 'The link for “',
  itIsShownThisOnceAnd: 'It is shown this once, and works once',
  untilExact: (exact: Shown): string => `, until ${exact}`,
  whoeverOpensItIs: '. Whoever opens it is',
  link: 'Link',
  copyLink: 'Copy link',
  yourRoleInvitesNobody: 'Your role invites nobody',
  invite: 'Invite',
  peopleWhoSignInHerePrograms: 'People who sign in here. Programs have API keys instead.',
  theMembersCannotBeShown: 'The members cannot be shown.',
  noMemberYet: 'No member yet',
  inviteThePeopleWhoStreamWith: 'Invite the people who stream with you.',
  state: 'State',
};

/** A new stream. */
export const newStream = {
  yourStreamIsMadeGiveIts: 'Your stream is made. Give its key to your encoder, and start.',
  openTheStream: 'Open the stream',
  newStream: 'New stream',
  viewersFindItUnderItsName:
    'Viewers find it under its name. The title can be changed at any time, the name stays.',
  theStreamWasNotMade: 'The stream was not made.',
  title: 'Title',
  sundayConcert: 'Sunday concert',
  name: 'Name',
  lettersDigitsAndItStandsIn:
    'Letters, digits, “-” and “_”. It stands in addresses and in signatures, so it stays.',
  yourRoleMakesNoStreams: 'Your role makes no streams',
  create: 'Create',
  aStreamHasThisNameAlready: 'A stream has this name already. Use another.',
};

/** Who may watch. */
export const streamAccess = {
  everybody: 'Everybody',
  itStandsOnTheFirstPage: 'It stands on the first page while it is live.',
  whoeverHasTheAddress: 'Whoever has the address',
  itStandsOnNoPage: 'It stands on no page.',
  whoeverIsSignedInAndBelongs: 'Whoever is signed in and belongs to this tenant.',
  whoeverHasAToken: 'Whoever has a token',
  youHandTokensOutOrYour: 'You hand tokens out, or your website does.',
  whoMayWatch: 'Who may watch',
  viewers: 'Viewers',
  viewerTokens: 'Viewer tokens',
  aTokenOpensThisStreamFor: 'A token opens this stream for whoever has it, until its time is over.',
  theTokenWasNotMade: 'The token was not made.',
  itCountsFor: 'It counts for',
  yourRoleMakesNoTokens: 'Your role makes no tokens',
  makeAToken: 'Make a token',
  page: 'Page',
  copyAddress: 'Copy address',
  until: 'Until ',
  itIsShownThisOnce: '. It is shown this once.',
  onOtherSites: 'On other sites',
  thePlayerMayStand: 'The player may stand',
  sites: 'Sites',
  oneALineSuchAsHttps:
    'One a line, such as https://town.example. Only these may read the stream by script, too; without one, every site may.',
  thisIsNoSiteValueWrite: (value: Shown): string => `This is no site: ${value}. Write https:// and a host.`,
  code: 'Code',
  copyCode: 'Copy code',
  share: 'Share',
  players: 'Players',
  vlcFfplayAndAnyHlsPlayer: 'VLC, ffplay and any HLS player open the second one.',
};

/** The chat’s page in the studio. */
export const streamChat = {
  theChatCannotBeShown: 'The chat cannot be shown.',
};

/** Settings of a stream. */
export const streamSettings = {
  title: 'Title',
  description: 'Description',
  category: 'Category',
  somebodyElseChangedThisToo: 'Somebody else changed this, too.',
  chooseWhatToKeepAndSave: 'Choose what to keep, and save again.',
  yours: 'Yours',
  theirs: 'Theirs',
  takeTheirs: 'Take theirs',
  somebodyElseChangedOtherFieldsSave: 'Somebody else changed other fields. Save again to keep yours.',
  whatViewersRead: 'What viewers read',
  streamKey: 'Stream key',
  theKeyInUseIs: 'The key in use is ',
  replaceItWhenItWasLost: '. Replace it when it was lost, or when somebody saw it.',
  yourRoleMakesNoKeys: 'Your role makes no keys',
  makeANewKey: 'Make a new key',
  makeANewKey2: 'Make a new key?',
  theKeyInUseEndsAt: 'The key in use ends at once, and whoever broadcasts with it is disconnected.',
  theKeyWasNotReplaced: 'The key was not replaced.',
  keepTheKey: 'Keep the key',
  nameIsBeingDeleted: (name: Shown): string => `“${name}” is being deleted`,
  deleteTheStream: 'Delete the stream',
  itsPageAndItsKeyGo:
    'Its page and its key go, and a broadcast ends. You have eight seconds to take that back.',
  yourRoleDeletesNoStreams: 'Your role deletes no streams',
  theSettingsCannotBeShown: 'The settings cannot be shown.',
};

/** Usage and limits. */
export const usage = {
  valueTb: (value: Shown): string => `${value} TB`,
  valueGb: (value: Shown): string => `${value} GB`,
  valueMb: (value: Shown): string => `${value} MB`,
  publishersAtOnce: 'Publishers at once',
  incomingBitRate: 'Incoming bit rate',
  bitRateToViewers: 'Bit rate to viewers',
  recordings: 'Recordings',
  noLimit: 'no limit',
  ofValue: (value: Shown): string => `of ${value}`,
  theOperatorSetsLimitsAskThem: 'The operator sets limits. Ask them for more.',
  usage: 'Usage',
  what: 'What ',
  hasAndWhatItMayHave: ' has, and what it may have.',
  theUsageCannotBeShown: 'The usage cannot be shown.',
};

/** Webhooks. */
export const webhooks = {
  everything: 'Everything',
  streamsMembersKeysWebhooks: 'Streams, members, keys, webhooks.',
  madeLiveEndedWarnings: 'Made, live, ended, warnings.',
  broadcasts: 'Broadcasts',
  whenOneBeginsAndWhenIt: 'When one begins, and when it ends.',
  newWebhook: 'New webhook',
  theWebhookWasNotMade: 'The webhook was not made.',
  address: 'Address',
  httpsAndReachableFromTheInternet: 'https, and reachable from the internet.',
  httpsExampleOrgSealcast: 'https://example.org/sealcast',
  whatItHearsOf: 'What it hears of',
  makeTheWebhook: 'Make the webhook',
  afterAttemptsTries: (attempts: Shown): string => ` after ${attempts} tries`,
  deliveredTries: (tries: Shown): string => `Delivered${tries}`,
  dueClock: (clock: Shown): string => `Due ${clock}`,
  waits: 'Waits',
  givenUpTries: (tries: Shown): string => `Given up${tries}`,
  itIsSentOnceMore: 'It is sent once more',
  deliveries: 'Deliveries',
  theDeliveriesCannotBeShown: 'The deliveries cannot be shown.',
  nothingWasSentYet: 'Nothing was sent yet',
  whatHappensFromNowOnIs: 'What happens from now on is.',
  statusStatus: (status: Shown): string => `, status ${status}`,
  yourRoleSendsNothing: 'Your role sends nothing',
  sendAgain: 'Send again',
  close: 'Close',
  off: 'Off',
  fails: 'Fails',
  since: 'since ',
  on: 'On',
  yourRoleChangesNoWebhooks: 'Your role changes no webhooks',
  theTestEventArrived: 'The test event arrived',
  theTestEventDidNotArrive: (value: Shown): string => `The test event did not arrive: ${value}`,
  theWebhookIsBeingDeleted: 'The webhook is being deleted',
  hearsOf: 'Hears of',
  deliveriesToUrl: (url: Shown): string => `Deliveries to ${url}`,
  testUrl: (url: Shown): string => `Test ${url}`,
  test: 'Test',
  turnValueUrl: (value: Shown, url: Shown): string => `Turn ${value} ${url}`,
  turnOff: 'Turn off',
  turnOn: 'Turn on',
  deleteUrl: (url: Shown): string => `Delete ${url}`,
  delete: 'Delete',
  yourRoleMakesNoWebhooks: 'Your role makes no webhooks',
  webhooks: 'Webhooks',
  yourServersHearOfWhatHappens: 'Your servers hear of what happens here, signed as Standard Webhooks says.',
  theSecretThatSigns: 'The secret that signs',
  itIsShownThisOnceYour: 'It is shown this once. Your server checks with it that an event comes from here.',
  secret: 'Secret',
  copySecret: 'Copy secret',
  theWebhooksCannotBeShown: 'The webhooks cannot be shown.',
  noWebhookYet: 'No webhook yet',
  aWebhookTellsYourOwnServer: 'A webhook tells your own server when a stream goes live.',
  state: 'State',
};

/** Pages of a stream, in the palette. */
export const paletteDialog = {
  live: 'Live',
  health: 'Health',
  access: 'Access',
  chat: 'Chat',
};

/** What is wrong with a field. */
export const problems = {
  fillThisIn: 'Fill this in.',
  thisIsTooLong: 'This is too long.',
  thisIsTooShort: 'This is too short.',
  useLettersDigitsAndOnly: 'Use letters, digits, “-”, “_” and “.” only.',
  thisNameCouldBeTakenFor: 'This name could be taken for something else. Use another.',
  thisNameBelongsToOtherTenants: 'This name belongs to other tenants.',
  thisIsNotKnownHere: 'This is not known here.',
  thisIsOutOfRange: 'This is out of range.',
  thisHasCharactersThatCannotBe: 'This has characters that cannot be shown.',
  thisCannotBeChanged: 'This cannot be changed.',
  onlyOperatorsMayHaveThis: 'Only operators may have this.',
  chooseARoleOrScopesNot: 'Choose a role or scopes, not both.',
  notPossibleCode: (code: Shown): string => `Not possible: ${code}.`,
};

/** Roles and scopes. */
export const rights = {
  viewer: 'Viewer',
  readsStreamsRecordingsUsageAndTelemetry: 'Reads streams, recordings, usage and telemetry.',
  producer: 'Producer',
  thatAndMakesStreamsTheirKeys: 'That, and makes streams, their keys and viewer tokens.',
  owner: 'Owner',
  everythingInThisTenantAlsoKeys: 'Everything in this tenant, also keys and members.',
  operator: 'Operator',
  everythingInAllTenantsAndThe: 'Everything in all tenants, and the cluster.',
  singleScopes: 'Single scopes',
  onlyWhatYouChoose: 'Only what you choose.',
  namedAndValueMore: (named: Shown, value: Shown): string => `${named} and ${value} more`,
};
