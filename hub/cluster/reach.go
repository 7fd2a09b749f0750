package cluster

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
)

// maxReach bounds an address at which clients reach a node, in bytes: a name of the DNS has 253.
const maxReach = 300

// reachHost matches what may stand in it as a host: a name of the DNS, as far as its letters go, or an IP address.
var reachHost = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$`)

// reach returns an address at which clients reach a node, as another node tells it, SCHEME://HOST[:PORT]; empty if it is
// anything else. Clients are sent there, and what others say is theirs.
func reach(text string, schemes ...string) string {
	if len(text) > maxReach {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || !slices.Contains(schemes, u.Scheme) || !reachHost.MatchString(u.Host) || u.Scheme+"://"+u.Host != text {
		return ""
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return ""
		}
	}
	return text
}

// check drops addresses that are none.
func (d *Description) check() {
	d.HTTP, d.RTMP = reach(d.HTTP, "http", "https"), reach(d.RTMP, "rtmp", "rtmps")
}
