-- _status: record what becomes of a message, be it one of a campaign or not.
-- include: events, finished, history, recipients

-- As `write_status`. What is finished has no status any more: see _recipients and _finished. `shown`: the state of a
-- recipient of a campaign, where it is another.
local function record(status, id, state, line, detail, fields, shown)
  if move_recipient(id, shown or state, fields or {}) then
    redis.pcall('UNLINK', status)
    announce(id, state, detail or '')
  elseif not finish_status(status, id, state, line, detail, fields) then
    reopen_status(status, id)
    write_status(status, id, state, line, detail, fields)
    if STATE_CODES[state] then redis.pcall('PEXPIRE', status, KEEP_STATUS) end
  end
end
