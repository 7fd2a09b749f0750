// mpegts.js, which is fetched when something is to be played and not before.

import { el } from './dom.js';

const root = document.documentElement;
let loading = null;

// load brings mpegts.js in, once, and returns what is wrong, if something is.
export function load() {
  if (!root.dataset.player) {
    return `the player is not in this build: run ${root.dataset.generate} where the source is, and build again`;
  }
  return loading ??= new Promise((done) => {
    const script = el('script', { src: root.dataset.player });
    script.onload = () => {
      window.mpegts.LoggingControl.applyConfig({ enableAll: false });
      done(window.mpegts.getFeatureList().mseLivePlayback ? ''
        : 'this browser has no Media Source Extensions; see below for other ways to watch');
    };
    script.onerror = () => { loading = null; done('the player could not be loaded from the server'); };
    document.head.append(script);
  });
}
