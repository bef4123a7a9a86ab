-- _status: record what becomes of a message, be it one of a campaign or not.
-- include: events, history, recipients

-- As `write_status`. A recipient of a campaign that is settled has no status any more: see _recipients. `shown`: their
-- state, where it is another.
local function record(status, id, state, line, detail, fields, shown)
  if move_recipient(id, shown or state, fields or {}) then
    redis.pcall('UNLINK', status)
    announce(id, state, detail or '')
  else
    write_status(status, id, state, line, detail, fields)
  end
end
