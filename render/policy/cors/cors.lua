-- The request half of cors-flex. All data comes from the filter's context (see effect in cors.go):
--   key           where the request half leaves word for the response half
--   public        "1": every origin, method and header is allowed
--   credentials   "1"
--   origin <o>    the number of the group that names the origin <o>; <o> is in lower case, or *
--   group <n>     methods (set), allow_methods, headers (set), any_header, allow_headers, expose, max_age
-- The script keeps nothing between requests: its VM is shared by all APIs. An error refuses the request.

local NAMESPACE = "flexgw.cors"

-- Names that the headers of a preflight ask for, in lower case.
local function names(list)
  local found = {}
  for name in (list or ""):gmatch("[^,]+") do
    name = name:match("^%s*(.-)%s*$"):lower()
    if name ~= "" then found[#found + 1] = name end
  end
  return found
end

-- The group of an origin, and whether it was named; nothing when the origin is not allowed.
local function find(context, origin)
  local n, named = context:get("origin " .. origin:lower()), true
  if origin == "*" then n = nil end
  if not n then n, named = context:get("origin *"), false end
  if not n then return nil end
  return context:get("group " .. n), named
end

local function allowed(group, wanted)
  if group.any_header then return true end
  local headers = group.headers or {}
  for _, name in ipairs(wanted) do
    if not headers[name] then return false end
  end
  return true
end

-- What to answer instead of the service; nothing lets the request pass.
local function on_request(handle)
  local headers = handle:headers()
  local origin = headers:get("origin")
  if not origin then return end
  local context = handle:filterContext()
  local method = headers:get(":method")
  local asked = method == "OPTIONS" and headers:get("access-control-request-method") or nil
  local requested = headers:get("access-control-request-headers")

  local public = context:get("public")
  local group, named
  if not public then
    group, named = find(context, origin)
    local methods = group and group.methods or {}
    if not group or not methods[asked or method] or (asked and not allowed(group, names(requested))) then
      return { [":status"] = "200" }
    end
  end

  local credentials = context:get("credentials")
  local answer = { ["access-control-allow-origin"] = (named or credentials) and origin or "*" }
  if credentials then answer["access-control-allow-credentials"] = "true" end
  if not asked then
    if group and group.expose then answer["access-control-expose-headers"] = group.expose end
    handle:streamInfo():dynamicMetadata():set(NAMESPACE, context:get("key"), answer)
    return
  end
  answer[":status"] = "200"
  answer["access-control-allow-methods"] = public and asked or group.allow_methods
  if public or group.any_header then
    answer["access-control-allow-headers"] = requested
  else
    answer["access-control-allow-headers"] = group.allow_headers
  end
  if group then answer["access-control-max-age"] = group.max_age end
  return answer
end

function envoy_on_request(handle)
  local ok, answer = pcall(on_request, handle)
  if ok and answer then handle:respond(answer, "") end
  if ok then return end
  handle:logErr("cors-flex: " .. tostring(answer))
  handle:respond({ [":status"] = "500", ["content-type"] = "application/json; charset=UTF-8" }, '{"error":"Internal error."}')
end

local function on_response(handle)
  local left = handle:streamInfo():dynamicMetadata():get(NAMESPACE)
  local answer = left and left[handle:filterContext():get("key")]
  if not answer then return end
  local headers = handle:headers()
  for name, value in pairs(answer) do
    headers:replace(name, value)
  end
end

function envoy_on_response(handle)
  local ok, problem = pcall(on_response, handle)
  if not ok then handle:logErr("cors-flex: " .. tostring(problem)) end
end
