package console

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"

	"sluice/web/browsertest"
)

// What is below 0 is seen as well: a picture that comes after its sound is as far from it as one
// that comes before.
func TestGraphBelowZero(t *testing.T) {
	r := newRig(t)
	p := r.tab(t)
	p.Open(r.URL + Path)
	p.Until(state("login"))
	p.Run(chromedp.Evaluate[chromedp.Void](`void import(document.querySelector('script[src$="console.js"]').src.replace(/console\.js$/, 'graph.js')).then(({ Graph }) => {
		const graph = new Graph('Distance', (v) => v + ' ms', { least: 100 });
		graph.update([0, null, -1200, -600], 2000, 0);
		window.graph = graph;
	})`))
	p.Until("!!window.graph")
	assert.Equal(t, "max -1200 ms", browsertest.Eval[string](p.Page, "graph.most.textContent"))
	assert.Equal(t, "-600 ms", browsertest.Eval[string](p.Page, "graph.now.textContent"))
	assert.Equal(t, "M0.0 62.0h1M200.0 4.0L300.0 33.0", browsertest.Eval[string](p.Page, "graph.line.getAttribute('d')"))
}
