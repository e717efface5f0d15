package usage

import "bytes"

// A line of the log, as render's usageLog has Envoy write it: when the request began in Unix milliseconds, its status or 0, the API or
// nothing, and the id of the stream, with one space between. What is no request that Envoy could read has neither API nor id.
//
//	1795707147738 200 default/orders 70031019-7944-41d6-9ad1-3acb3c4309ac
const (
	streamLen = 36 // a UUID
	shortest  = 10 + 1 + 1 + 1 + 0 + 1
)

// parse takes a line apart. The API shares memory with it. False: it is torn, or not ours.
func parse(line []byte) (milliseconds int64, api []byte, ok bool) {
	if len(line) < shortest {
		return 0, nil, false
	}
	end := len(line) - streamLen - 1 // of the API
	switch {
	case end > 0 && line[end] == ' ' && isUUID(line[end+1:]):
	case line[len(line)-1] == ' ' && line[len(line)-2] == ' ':
		end = len(line) - 1
	default:
		return 0, nil, false
	}
	i := 0
	for ; i < end && i < 15 && digit(line[i]); i++ {
		milliseconds = milliseconds*10 + int64(line[i]-'0')
	}
	if i < 10 || line[i] != ' ' {
		return 0, nil, false
	}
	code := i + 1
	for i = code; i < end && digit(line[i]); i++ {
	}
	if n := i - code; i == end || line[i] != ' ' || n != 3 && (n != 1 || line[code] != '0') {
		return 0, nil, false
	}
	api = line[i+1 : end]
	if len(api) > 0 && (end == len(line)-1 || bytes.IndexByte(api, '/') <= 0) {
		return 0, nil, false
	}
	return milliseconds, api, true
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func isUUID(b []byte) bool {
	for i, c := range b {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !digit(c) && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return len(b) == streamLen
}
