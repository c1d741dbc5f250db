"""A remote agent in Python: `API_URL=… AGENT_URL=… PORT=… python3 agent.py`. What each answer is stands in
docs/guides/remote-agents.md; agent.ts does the same."""

import asyncio, json, os
from urllib import error, parse, request as http
import jwt, uvicorn
from fastapi import Body, Depends, FastAPI, Header, HTTPException, Response
from fastapi.responses import StreamingResponse

PORT = int(os.environ.get("PORT", "8100"))
API_URL = os.environ.get("API_URL", "http://127.0.0.1:3000")  # who sends us runs: its word counts and nobody else's
AGENT_URL = os.environ.get("AGENT_URL", f"http://127.0.0.1:{PORT}")  # where we are: tokens have to be meant for us
keys = jwt.PyJWKClient(f"{API_URL}/.well-known/jwks.json")
app = FastAPI()
runs = {}


class Run:
    def __init__(self, asked, token, first):
        self.asked, self.token, self.first = asked, token, first
        self.events, self.done, self.changed = [], False, asyncio.Condition()
        self.task = asyncio.create_task(self.perform())

    async def tell(self, kind, done=False, **data):
        async with self.changed:
            self.events.append((kind, json.dumps(data)))
            self.done = done
            self.changed.notify_all()

    async def perform(self):
        try:
            await work(self)
        except asyncio.CancelledError:
            await self.tell("failed", done=True, code="canceled", message="It was canceled.")
        except Exception as problem:
            await self.tell("failed", done=True, code="internal", message=str(problem)[:1000])


# region work
async def work(run):
    name = run.asked.removeprefix("Find ")
    await run.tell("message", text=f"Looking for {name}.")
    url = f"{API_URL}/contacts?name={parse.quote(name)}"
    asked = http.Request(url, headers={"authorization": f"Bearer {run.token}"})
    try:
        found = json.load(await asyncio.to_thread(http.urlopen, asked))
    except error.HTTPError as refused:
        message = f"The contacts cannot be read: {json.load(refused)['code']}."
        return await run.tell("failed", done=True, code="contacts.refused", message=message)
    usage = {"steps": 2, "inputTokens": 90, "outputTokens": 12}
    await run.tell("completed", done=True, text=f"Found {', '.join(each['name'] for each in found)}.", usage=usage)
# endregion work


# region token
def token(id: str, authorization: str = Header("")):
    """The request's token, when it is for us and for this run."""
    text = authorization.removeprefix("Bearer ")
    try:
        key = keys.get_signing_key_from_jwt(text).key
        claims = jwt.decode(text, key, ["EdDSA"], audience=AGENT_URL, issuer=API_URL, options={"require": ["exp", "sub"]})
    except jwt.PyJWTError:
        raise HTTPException(401)
    if claims["sub"] != id or jwt.get_unverified_header(text).get("typ") != "armature-principal+jwt":
        raise HTTPException(401)
    return text
# endregion token


@app.get("/health")
def health():
    return {"status": "up", "version": "1", "runs": sum(not run.done for run in runs.values())}


@app.put("/runs/{id}")
async def run(id: str, body: dict = Body(), token=Depends(token), last_event_id: int = Header(0)):
    if id not in runs:
        runs[id] = Run(body["messages"][-1]["content"][0]["text"], token, last_event_id + 1)
    runs[id].token = token
    return StreamingResponse(events(runs[id], last_event_id), media_type="text/event-stream")


async def events(run, seen):
    at = max(0, seen + 1 - run.first)
    while at < len(run.events) or not run.done:
        if at < len(run.events):
            kind, data = run.events[at]
            yield f"id: {run.first + at}\nevent: {kind}\ndata: {data}\n\n"
            at += 1
            continue
        try:
            async with run.changed:
                await asyncio.wait_for(run.changed.wait_for(lambda: at < len(run.events) or run.done), 10)
        except asyncio.TimeoutError:
            yield ": at work\n\n"


@app.post("/runs/{id}/cancel", status_code=204, dependencies=[Depends(token)])
async def cancel(id: str):
    if id in runs:
        runs[id].task.cancel()
    return Response(status_code=204)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False)
