"""An adapter that lets a client open only when it holds enough of a token: icrc1_balance_of says how much it has."""

import icrelay

# Candid of (record { owner : principal }), but for the principal; the subaccount that is not there counts as null.
ACCOUNT = b"DIDL\x01\x6c\x01\xb3\xb0\xda\xc3\x03\x68\x01\x00\x01"
NAT = b"DIDL\x00\x01\x7d"


class Gate(icrelay.Route):
    async def started(self):
        settings = dict(self.settings)
        token = settings.pop("token", None)
        self.minimum = settings.pop("minimum", 1)
        self.sentence = settings.pop("sentence", f"Come back with at least {self.minimum} tokens")
        self.certified = settings.pop("certified", False)
        if not isinstance(token, str):
            raise icrelay.Problem('token is missing: the canister to ask, as in token = "token"')
        if type(self.minimum) is not int or self.minimum < 0:
            raise icrelay.Problem(f"minimum is a number of the token's smallest unit, not {self.minimum!r}")
        if not isinstance(self.sentence, str) or not isinstance(self.certified, bool):
            raise icrelay.Problem("sentence is a text, and certified is true or false")
        if settings:
            raise icrelay.Problem(f"unknown: {', '.join(settings)}; there are token, minimum, sentence and certified")
        self.token = self.principal(token)

    async def open(self, request):
        client = request.envelope.client.principal
        balance = await self.balance(client)
        if balance < self.minimum:
            icrelay.log.info("has not enough", extra={"client": icrelay.text_of(client), "balance": balance})
            raise icrelay.Refused(self.sentence)
        return await self.base.Open(request)

    async def balance(self, owner):
        ask = self.call if self.certified else self.query
        reply = await ask(self.token, "icrc1_balance_of", ACCOUNT + bytes([len(owner)]) + owner)
        if not reply.startswith(NAT) or len(reply) > 64:
            raise icrelay.Unavailable("The token's canister does not answer with a balance")
        return sum((byte & 0x7F) << 7 * i for i, byte in enumerate(reply[len(NAT) :]))  # LEB128


icrelay.serve(Gate)
