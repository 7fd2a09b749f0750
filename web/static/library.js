// mpegts.js, which is fetched when something is to be played and not before.

import { el } from './dom.js';

const root = document.documentElement;
let loading = null;

// What helps where there are no Media Source Extensions, which no new attempt brings.
const unable = 'this browser cannot play live streams, since it has no Media Source Extensions; another browser '
  + 'can, on an iPhone from iOS 17.1 on, and recordings play here, too';

// hopeless reports whether trying again cannot help against a problem.
export const hopeless = (problem) => problem === unable;

// load brings mpegts.js in, once, and returns what is wrong, if something is.
export function load() {
  if (!root.dataset.player) {
    return `the player is not in this build: run ${root.dataset.generate} where the source is, and build again`;
  }
  return loading ??= new Promise((done) => {
    const script = el('script', { src: root.dataset.player });
    script.onload = () => {
      window.mpegts.LoggingControl.applyConfig({ enableAll: false });
      done(window.mpegts.getFeatureList().mseLivePlayback ? '' : unable);
    };
    script.onerror = () => { loading = null; done('the player could not be loaded from the server'); };
    document.head.append(script);
  });
}
