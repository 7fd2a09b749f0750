package relay

import (
	"slices"

	"sluice/flv/amf"
	"sluice/hub"
)

// metadataName is the name of the script data that holds a stream's metadata.
const metadataName = "onMetaData"

// pathOf returns the path of servers that stands in the metadata of a script tag's body; none if the
// body is something else.
func pathOf(body []byte) []string {
	values, ok := metadataValues(body)
	if !ok {
		return nil
	}
	props, _ := amf.Properties(values[len(values)-1])
	for _, p := range props {
		if text, ok := p.Value.(string); ok && p.Name == hub.PathProperty {
			ids, _ := hub.ParsePath(text)
			return ids
		}
	}
	return nil
}

// setPath returns the body of a script tag with this path of servers in its metadata, in the place
// of the one that was there. A body that holds no metadata is returned as it is.
func setPath(body []byte, path []string) []byte {
	values, ok := metadataValues(body)
	if !ok {
		return body
	}
	props, _ := amf.Properties(values[len(values)-1])
	props = slices.DeleteFunc(slices.Clone(props), func(p amf.Property) bool { return p.Name == hub.PathProperty })
	if len(path) > 0 {
		props = append(props, amf.Property{Name: hub.PathProperty, Value: hub.FormatPath(path)})
	}
	values[len(values)-1] = amf.ECMAArray(props)
	return amf.AppendAMF0(nil, values...)
}

// emptyMetadata returns the body of metadata that says nothing.
func emptyMetadata() []byte { return amf.AppendAMF0(nil, metadataName, amf.ECMAArray{}) }

// metadataValues returns the values of a body that holds metadata, the last of which has properties.
func metadataValues(body []byte) ([]any, bool) {
	values, err := amf.DecodeAll(body, amf.Limits{})
	if err != nil || len(values) < 2 || values[0] != any(metadataName) {
		return nil, false
	}
	_, ok := amf.Properties(values[len(values)-1])
	return values, ok
}

// withPath returns an onMetaData with the path that the stream has taken, this server last.
func (p *push) withPath(body []byte) []byte {
	passed := pathOf(body)
	if len(passed) == 0 { // its publisher may have told it otherwise
		passed = p.cfg.Hub.Path(p.cfg.Key)
	}
	return setPath(body, p.pathFrom(passed))
}

// path returns the path that the stream has taken, this server last.
func (p *push) path() []string { return p.pathFrom(p.cfg.Hub.Path(p.cfg.Key)) }

func (p *push) pathFrom(passed []string) []string {
	if p.cfg.Node == "" {
		return passed
	}
	return append(passed[:len(passed):len(passed)], p.cfg.Node)
}
