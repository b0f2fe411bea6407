-- The action `lua.ask` asks sessiond whether a request is allowed, and answers it itself where it is not. The action
-- `lua.keep_session_cookie` keeps the session cookie from the back end.

local CHECK = "http://127.0.0.1:8080/verify/haproxy"

-- In milliseconds, for one attempt. HAProxy 2.6 makes four of them, which cannot be changed there.
local TIMEOUT = 500

-- What sessiond needs to know of the request: its credentials, and what tells a navigation from a script's request.
local ASKED_WITH = {
  "cookie", "authorization", "x-user-id", "x-auth-token", "host", "accept", "origin", "referer", "user-agent",
  "x-requested-with", "x-request-id", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-site",
  "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
}

-- Who is calling. sessiond always sends all of them.
local IDENTITY = { "remote-user", "remote-user-id", "remote-name", "remote-email", "remote-groups", "remote-session-id" }

-- What is passed on of a refusal.
local DENIAL = {
  "www-authenticate", "vary", "x-request-id", "x-api-commit",
  "access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers",
}

local REASONS = {
  [302] = "Found", [303] = "See Other", [400] = "Bad Request", [401] = "Unauthorized",
  [431] = "Request Header Fields Too Large", [503] = "Service Unavailable",
}

-- HAProxy's tables of lines begin at 0.
local function first(headers, name)
  local lines = headers and headers[name]
  return lines and lines[0]
end

local function question(txn, headers)
  local sent = {}
  for _, name in ipairs(ASKED_WITH) do
    local lines = headers[name]
    if lines then
      sent[name] = {}
      for place = 0, #lines do
        table.insert(sent[name], lines[place])
      end
    end
  end
  sent["x-forwarded-method"] = { txn.sf:method() }
  sent["x-forwarded-uri"] = { txn.sf:pathq() }
  return sent
end

-- Where a browser says what it does, that decides; else a GET that wants HTML and does not come from a script.
local function is_navigation(headers, is_read)
  local kind = first(headers, "sec-fetch-dest")
  if kind == "serviceworker" or kind == "worker" or kind == "manifest" then
    return false
  end
  local mode = first(headers, "sec-fetch-mode")
  if mode then
    return mode == "navigate" and not headers["sec-fetch-mode"][1]
  end
  local accepted = (first(headers, "accept") or ""):match("text/html%s*([^,]*)")
  return is_read and accepted and not accepted:match("^;%s*q=0%.?0*%s*$") and not headers["x-requested-with"]
end

local function answer(txn, status, denial, location)
  local reply = txn:reply({ status = status, reason = REASONS[status] })
  reply:add_header("cache-control", "no-store")
  for _, name in ipairs(DENIAL) do
    local value = first(denial, name)
    if value then
      reply:add_header(name, value)
    end
  end
  if location then
    reply:add_header("location", location)
  elseif status == 401 then
    reply:add_header("content-type", "application/json")
    reply:set_body('{"code":401,"detail":"Authentication failed","type":"authentication_error"}')
  end
  txn:done(reply)
end

local function ask(txn)
  local headers = txn.http:req_get_headers()
  local response = core.httpclient():head({ url = CHECK, headers = question(txn, headers), timeout = TIMEOUT })
  if response.status == 200 then
    for _, name in ipairs(IDENTITY) do
      local value = first(response.headers, name)
      if not value then
        return answer(txn, 503)
      end
      txn:set_var("txn." .. name:gsub("-", "_"), value)
    end
    return txn:set_var("txn.sessiond_allowed", true)
  end
  if response.status == 400 or response.status == 431 then
    -- The request itself is at fault: it names no host, or has more cookies than sessiond takes.
    return answer(txn, response.status, response.headers)
  end
  if response.status ~= 401 then
    return answer(txn, 503)
  end
  local method = txn.sf:method()
  local is_read = method == "GET" or method == "HEAD"
  local location = first(response.headers, "location")
  if location and is_navigation(headers, is_read) then
    return answer(txn, is_read and 302 or 303, response.headers, location)
  end
  answer(txn, 401, response.headers)
end

-- All other cookies go on byte for byte.
local function keep_session_cookie(txn)
  local lines = txn.http:req_get_headers()["cookie"]
  if not lines then
    return
  end
  txn.http:req_del_header("cookie")
  for place = 0, #lines do
    local others = ";" .. lines[place]
    for _, name in ipairs({ "_me_sess", "_me_sess_known" }) do
      others = others:gsub(";[ \t]*" .. name .. "[ \t]*=[^;]*", "")
    end
    others = others:gsub("^;[ \t]*", "")
    if others ~= "" then
      txn.http:req_add_header("cookie", others)
    end
  end
end

core.register_action("keep_session_cookie", { "http-req" }, keep_session_cookie, 0)
core.register_action("ask", { "http-req" }, ask, 0)
