-- Evaluates expressions that come as data in the filter context: see package expr. It keeps no state between requests: every
-- variable of this file is a constant, because one VM serves all routes of a worker. CASES stands above, made by program.go.

local NULL, ARRAY, OBJECT, EMPTY = {}, {}, {}, {} -- the null value, and the metatables of collections

local function fail(what) error(what, 0) end

local function kind(v)
  if v == NULL then return "null" end
  local t = type(v)
  if t ~= "table" then return t end
  local m = getmetatable(v)
  return m == ARRAY and "array" or m == EMPTY and "empty" or "object"
end

local function array(list, n)
  list.n = n
  return setmetatable(list, ARRAY)
end

-- import takes a value of dynamic metadata. An empty table does not say whether it was a list.
local function import(v)
  if v == nil then return NULL end
  if type(v) ~= "table" then return v end
  local n, any = 0, false
  for k in pairs(v) do
    any = true
    if type(k) == "number" and k > n then n = k end
  end
  local out = {}
  if not any then return setmetatable(out, EMPTY) end
  if n == 0 then
    for k, x in pairs(v) do out[k] = import(x) end
    return setmetatable(out, OBJECT)
  end
  for i = 1, n do out[i] = import(v[i]) end
  return array(out, n)
end

local function formatted(f)
  if f == 0 then return "0" end
  local shape, least, most = "%%.%df", 0, 340
  if not (-1e15 < f and f < 1e15) then shape, most = "%%.%de", 17 end
  for digits = least, most do
    local s = string.format(string.format(shape, digits), f)
    if tonumber(s) == f then return s end
  end
  fail("a number that cannot be written")
end

local function text(v)
  local t = type(v)
  if t == "string" then return v end
  if t == "number" then return formatted(v) end
  if t == "boolean" then return tostring(v) end
end

local function need_text(v)
  return text(v) or fail(kind(v) .. " where a string is needed")
end

local function truth(v)
  if type(v) ~= "boolean" then fail(kind(v) .. " is neither true nor false") end
  return v
end

local function same(x, y)
  local a, b = kind(x), kind(y)
  if a == "empty" or b == "empty" then
    local other = a == "empty" and y or x
    return kind(other) == "empty" or (type(other) == "table" and other ~= NULL and (other.n == 0 or next(other) == nil))
  end
  if a ~= b then return false end
  if a == "array" then
    if x.n ~= y.n then return false end
    for i = 1, x.n do
      if not same(x[i], y[i]) then return false end
    end
    return true
  elseif a == "object" then
    for k, v in pairs(x) do
      if y[k] == nil or not same(v, y[k]) then return false end
    end
    for k in pairs(y) do
      if x[k] == nil then return false end
    end
    return true
  end
  return x == y
end

local function select_key(x, key)
  local k = kind(x)
  if k == "null" or k == "empty" then return NULL end
  if k == "object" then
    local v = x[key]
    if v == nil then return NULL end
    return v
  end
  if k ~= "array" then fail(k .. " has no keys") end
  local out, n = {}, 0
  for i = 1, x.n do
    if kind(x[i]) == "object" and x[i][key] ~= nil then
      n = n + 1
      out[n] = x[i][key]
    end
  end
  return array(out, n)
end

local function runes(s)
  local out, n = {}, 0
  for c in s:gmatch("[%z\1-\127\192-\255][\128-\191]*") do
    n = n + 1
    out[n] = c
  end
  return array(out, n)
end

local function element(x, i)
  local k = kind(x)
  if type(i) == "string" then return select_key(x, i) end
  if type(i) ~= "number" or i ~= math.floor(i) then fail(kind(i) .. " is no index") end
  if k == "null" or k == "empty" then return NULL end
  if k == "string" then x = runes(x) elseif k ~= "array" then fail(k .. " has no elements") end
  if i < 0 then i = i + x.n end
  if i < 0 or i >= x.n then return NULL end
  return x[i + 1]
end

local function number(v)
  if type(v) == "number" then return v end
  if type(v) == "string" and v:find("^[-+]?%d*%.?%d*[eE]?[-+]?%d*$") then return tonumber(v) end
end

-- compare says whether x >= y, or x <= y with the sign -1. y is taken as the type of x.
local function compare(x, y, sign)
  local a, b
  if type(x) == "number" then
    a, b = x, number(y)
  elseif type(x) == "string" then
    a, b = x, text(y)
  end
  if b == nil then fail(kind(x) .. " and " .. kind(y) .. " cannot be compared") end
  if sign < 0 then return a <= b end
  return a >= b
end

local function contains(x, y)
  local k = kind(x)
  if k == "null" or k == "empty" then return false end
  if k == "array" then
    for i = 1, x.n do
      if same(x[i], y) then return true end
    end
    return false
  end
  if k ~= "string" then fail(k .. " cannot contain anything") end
  return x:find(need_text(y), 1, true) ~= nil
end

local function concat(x, y)
  if kind(x) == "empty" then x = array({}, 0) end
  if kind(y) == "empty" then y = array({}, 0) end
  if kind(x) ~= "array" or kind(y) ~= "array" then return need_text(x) .. need_text(y) end
  local out = {}
  for i = 1, x.n do out[i] = x[i] end
  for i = 1, y.n do out[x.n + i] = y[i] end
  return array(out, x.n + y.n)
end

local function split(s, sep)
  if sep == "" then return runes(s) end
  local out, n, from = {}, 0, 1
  while true do
    local first, last = s:find(sep, from, true)
    n = n + 1
    out[n] = s:sub(from, (first or 0) - 1)
    if not first then return array(out, n) end
    from = last + 1
  end
end

local function last_index(s, sep)
  local first, last, from = nil, nil, 1
  while true do
    local f, l = s:find(sep, from, true)
    if not f then return first, last end
    first, last, from = f, l, f + 1
  end
end

-- cut is the four substring functions. For an empty separator it does what the language documents.
local function cut(s, sep, after, at_last)
  if sep == "" then
    local all = runes(s)
    if after and at_last then return NULL end
    if all.n == 0 or (not after and not at_last) then return "" end
    if after then return s:sub(#all[1] + 1) end
    return s:sub(1, #s - #all[all.n])
  end
  local first, last
  if at_last then first, last = last_index(s, sep) else first, last = s:find(sep, 1, true) end
  if not first then return "" end
  if after then return s:sub(last + 1) end
  return s:sub(1, first - 1)
end

local DIGITS = {}
for i, c in (function(s) local i = 0; return function() i = i + 1; if i <= #s then return i - 1, s:byte(i) end end end)(
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") do DIGITS[c] = i end

local function from_base64(s)
  s = s:gsub("[\r\n]", ""):gsub("=+$", "")
  if s:find("[^%w+/]") or #s % 4 == 1 then fail("text that is not base64") end
  local out, n, bits, held = {}, 0, 0, 0
  for i = 1, #s do
    held, bits = (held % 65536) * 64 + DIGITS[s:byte(i)], bits + 6
    if bits >= 8 then
      bits = bits - 8
      n = n + 1
      out[n] = string.char(math.floor(held / 2 ^ bits) % 256)
    end
  end
  return table.concat(out)
end

local function decode_rune(c)
  local a, b, d, e = c:byte(1, 4)
  if #c == 2 then return (a - 192) * 64 + b - 128 end
  if #c == 3 then return (a - 224) * 4096 + (b - 128) * 64 + d - 128 end
  if #c == 4 then return (a - 240) * 262144 + (b - 128) * 4096 + (d - 128) * 64 + e - 128 end
end

local function encode_rune(r)
  local f = math.floor
  if r < 0x80 then return string.char(r) end
  if r < 0x800 then return string.char(192 + f(r / 64), 128 + r % 64) end
  if r < 0x10000 then return string.char(224 + f(r / 4096), 128 + f(r / 64) % 64, 128 + r % 64) end
  return string.char(240 + f(r / 262144), 128 + f(r / 4096) % 64, 128 + f(r / 64) % 64, 128 + r % 64)
end

-- cased changes letters outside ASCII by the ranges of CASES: {first, last, to upper, to lower}, where false means that the
-- range alternates, upper case first.
local function cased(s, upper)
  s = upper and s:upper() or s:lower()
  if not s:find("[\194-\244]") then return s end
  return (s:gsub("[\194-\244][\128-\191]+", function(c)
    local r = decode_rune(c)
    if not r then return c end
    local low, high = 1, #CASES
    while low < high do
      local middle = math.floor((low + high) / 2)
      if CASES[middle][2] < r then low = middle + 1 else high = middle end
    end
    local range = CASES[low]
    if r < range[1] or r > range[2] then return c end
    if range[3] then return encode_rune(r + (upper and range[3] or range[4])) end
    local base = r - (r - range[1]) % 2
    return encode_rune(upper and base or base + 1)
  end))
end

local function unescape(s)
  return (s:gsub("+", " "):gsub("%%(%x%x)", function(h) return string.char(tonumber(h, 16)) end))
end

local function parameters(uri)
  local out = setmetatable({}, OBJECT)
  for pair in (uri:match("^[^?]*%?(.*)$") or ""):gmatch("[^&]+") do
    local k, v = pair:match("^([^=]*)=?(.*)$")
    k = unescape(k)
    if out[k] == nil then out[k] = unescape(v) end
  end
  return out
end

-- line is the request line, read from the request itself or, on a response, from what its request left behind.
-- The request leaves it under the name of the filter (capture), so that its presence says that the request passed this filter.
local function line(c)
  if not c.line then
    if c.response then
      c.line = c.seen
    else
      local h = c.handle:headers()
      c.line = { method = h:get(":method"), scheme = h:get(":scheme"), uri = h:get(":path") }
    end
  end
  return c.line
end

local function or_null(v)
  if v == nil then return NULL end
  return v
end

local eval

local function flat(c, n, f)
  local x = eval(c, n[2])
  for i = 3, #n do x = f(x, eval(c, n[i])) end
  return x
end

-- texts evaluates the arguments of a function on strings; its first one being null makes the result null.
local function texts(f)
  return function(c, n)
    local x = eval(c, n[2])
    local y = n[3] and eval(c, n[3])
    if x == NULL then return NULL end
    return f(need_text(x), y and need_text(y))
  end
end

local OPS = {
  null = function() return NULL end,
  lit = function(_, n) return n[2] end,
  arr = function(c, n)
    local out = {}
    for i = 2, #n do out[i - 1] = eval(c, n[i]) end
    return array(out, #n - 1)
  end,
  hdr = function(c, n) return or_null(c.handle:headers():get(n[2])) end,
  hdx = function(c, n) return or_null(c.handle:headers():get(need_text(eval(c, n[2])):lower())) end,
  method = function(c) return or_null(line(c).method) end,
  scheme = function(c) return or_null(line(c).scheme) end,
  uri = function(c) return or_null(line(c).uri) end,
  path = function(c) return or_null(line(c).uri and line(c).uri:match("^[^?]*")) end,
  query = function(c) return or_null(line(c).uri and (line(c).uri:match("^[^?]*%?(.*)$") or "")) end,
  params = function(c) return line(c).uri and parameters(line(c).uri) or NULL end,
  version = function(c) return or_null(c.handle:streamInfo():protocol()) end,
  here = function(c) return or_null(c.handle:streamInfo():downstreamLocalAddress()) end,
  peer = function(c) return or_null(c.handle:streamInfo():downstreamDirectRemoteAddress()) end,
  status = function(c) return or_null(tonumber(c.handle:headers():get(":status"))) end,
  meta = function(c, n)
    local v = c.handle:streamInfo():dynamicMetadata():get(n[2])
    for i = 3, #n do
      if type(v) ~= "table" then return NULL end
      v = v[n[i]]
    end
    return import(v)
  end,
  get = function(c, n) return select_key(eval(c, n[2]), n[3]) end,
  at = function(c, n) return element(eval(c, n[2]), eval(c, n[3])) end,
  cat = function(c, n) return flat(c, n, concat) end,
  has = function(c, n) return contains(eval(c, n[2]), eval(c, n[3])) end,
  eq = function(c, n) return same(eval(c, n[2]), eval(c, n[3])) end,
  ne = function(c, n) return not same(eval(c, n[2]), eval(c, n[3])) end,
  ge = function(c, n) return compare(eval(c, n[2]), eval(c, n[3]), 1) end,
  le = function(c, n) return compare(eval(c, n[2]), eval(c, n[3]), -1) end,
  ["and"] = function(c, n)
    for i = 2, #n do
      if not truth(eval(c, n[i])) then return false end
    end
    return true
  end,
  ["or"] = function(c, n)
    for i = 2, #n do
      if truth(eval(c, n[i])) then return true end
    end
    return false
  end,
  def = function(c, n)
    for i = 2, #n do
      local v = eval(c, n[i])
      if v ~= NULL then return v end
    end
    return NULL
  end,
  ["not"] = function(c, n) return not truth(eval(c, n[2])) end,
  ["if"] = function(c, n)
    if truth(eval(c, n[2])) then return eval(c, n[3]) end
    return eval(c, n[4])
  end,
  text = function(c, n) return need_text(eval(c, n[2])) end,
  b64 = function(c, n) return from_base64(need_text(eval(c, n[2]))) end,
  lower = texts(function(s) return cased(s, false) end),
  upper = texts(function(s) return cased(s, true) end),
  trim = texts(function(s) return s:match("^[%z\1-\32]*(.-)[%z\1-\32]*$") end),
  split = texts(split),
  sa = texts(function(s, sep) return cut(s, sep, true, false) end),
  sal = texts(function(s, sep) return cut(s, sep, true, true) end),
  sb = texts(function(s, sep) return cut(s, sep, false, false) end),
  sbl = texts(function(s, sep) return cut(s, sep, false, true) end),
}

function eval(c, i)
  local n = c.nodes[i]
  return OPS[n[1]](c, n)
end

-- written prints any value as JSON, keys in order.
local function written(v)
  local k = kind(v)
  if k == "null" then return "null" end
  if k == "string" then
    return '"' .. v:gsub('[%c"\\]', function(ch) return string.format("\\u%04x", ch:byte()) end) .. '"'
  end
  if k == "empty" then return "[]" end
  if k ~= "array" and k ~= "object" then return text(v) end
  local out = {}
  if k == "array" then
    for i = 1, v.n do out[i] = written(v[i]) end
    return "[" .. table.concat(out, ",") .. "]"
  end
  for key, x in pairs(v) do out[#out + 1] = written(key) .. ":" .. written(x) end
  table.sort(out)
  return "{" .. table.concat(out, ",") .. "}"
end

local FORMS = {
  -- clean is for headers that others read: control characters would split or break the message.
  clean = function(v)
    return (need_text(v):gsub("[%z\1-\8\10-\31\127]", ""):match("^%s*(.-)%s*$"))
  end,
  -- key is for headers and metadata that only we read: any value, told apart byte by byte, in visible ASCII.
  key = function(v)
    return ((text(v) or written(v)):gsub("[^\33-\36\38-\126]", function(ch) return string.format("%%%02X", ch:byte()) end))
  end,
  -- address is the first of a list of addresses, without brackets and port.
  address = function(v)
    local s = need_text(v):match("^[^,]*"):gsub("[%z\1-\8\10-\31\127]", ""):match("^%s*(.-)%s*$")
    s = s:match("^%[([%x:.]+)%]:?%d*$") or s:match("^(%d+%.%d+%.%d+%.%d+):%d+$") or s
    return s:match("^::[fF][fF][fF][fF]:(%d+%.%d+%.%d+%.%d+)$") or s
  end,
}

-- These are replaced, not joined: https://docs.mulesoft.com/gateway/latest/policies-included-header-injection
local REPLACED = { ["access-control-allow-origin"] = true, ["content-type"] = true }

-- These decide where a message ends, where it goes, and what only we may say.
local FORBIDDEN = { host = true, ["content-length"] = true, ["transfer-encoding"] = true, connection = true, upgrade = true, te = true }

local function header_name(c, step)
  if step.name then return step.name end
  local name = need_text(eval(c, step.namenode)):lower()
  if not name:find("^[%w!#$%%&'*+.^_`|~-]+$") or FORBIDDEN[name] or name:find("^x%-flexgw%-") then fail("a header name that is not allowed") end
  return name
end

local function value(c, step)
  if not step.lenient then return eval(c, step.value) end
  local ok, v = pcall(eval, c, step.value)
  if ok then return v end
  return NULL
end

local function header(c, step)
  local headers = c.handle:headers()
  local name = header_name(c, step)
  if step.set then headers:remove(name) end
  local v = value(c, step)
  if v == NULL and step.optional then return end
  v = FORMS[step.form](v)
  if step.append and not REPLACED[name] then headers:add(name, v) else headers:replace(name, v) end
end

local function metadata(c, step)
  local v = value(c, step)
  if v == NULL and step.optional then return end
  c.handle:streamInfo():dynamicMetadata():set(step.namespace, step.name, FORMS[step.form](v))
end

local function require_true(c, step)
  local v = value(c, step)
  if v ~= true and (v == false or v == NULL or step.lenient) then error({ refused = step }, 0) end
  truth(v)
end

local STEPS = { header = header, metadata = metadata, require = require_true }

local function run(handle, response, seen)
  local context = handle:filterContext()
  local c = { handle = handle, response = response, seen = seen, nodes = context:get("nodes") }
  local capture = context:get("capture")
  if not response and capture then
    handle:streamInfo():dynamicMetadata():set("flexgw.expr", capture, line(c))
  end
  for _, step in ipairs(context:get(response and "response" or "request") or {}) do
    STEPS[step.step](c, step)
  end
end

local FAILURE = '{"error":"Internal Server Error"}'
local JSON = "application/json; charset=UTF-8"

local function log(handle, why)
  handle:logWarn("expression: " .. tostring(why))
end

-- A refusal answers instead of the upstream. It must stand outside a pcall: respond does not return.
function envoy_on_request(handle)
  local ok, why = pcall(run, handle, false)
  if ok then return end
  local step = type(why) == "table" and why.refused
  if not step then log(handle, why) end
  handle:respond({ [":status"] = step and step.status or "500", ["content-type"] = JSON }, step and (step.body or "") or FAILURE)
end

-- replace_response makes a failure of a response on its way: Envoy has no respond here. The body is replaced as it streams, so
-- that one without an end does not hang.
local function replace_response(handle)
  local headers, names = handle:headers(), {}
  for name in pairs(headers) do
    if name:sub(1, 1) ~= ":" then names[#names + 1] = name end
  end
  for _, name in ipairs(names) do headers:remove(name) end
  headers:replace(":status", "500")
  headers:replace("content-type", JSON)
  local body = FAILURE
  for chunk in handle:bodyChunks() do
    chunk:setBytes(body)
    body = ""
  end
end

-- A response whose request was refused before it came here passes as it is, whatever other filters of this kind saw.
function envoy_on_response(handle)
  local capture = handle:filterContext():get("capture")
  local meta = capture and handle:streamInfo():dynamicMetadata():get("flexgw.expr")
  local seen = meta and meta[capture]
  if not seen then return end
  local ok, why = pcall(run, handle, true, seen)
  if ok then return end
  log(handle, why)
  replace_response(handle)
end
