"""``amp0 demo``: the whole AMP0 day on a chain and a server of its own, nothing mocked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from amp0.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from amp0.local.demo import Exchange, Outcome, Step


@click.command()
@json_option
def demo(as_json: bool) -> None:
    """Walk the whole AMP0 day on a chain and a server of its own: a venue's, and then an issuer's.

    Both run in this process, on free ports of this machine, and are gone afterwards. Every key, proof,
    signature and block is real.
    """
    import logging
    import time

    from amp0.local.demo import walk
    from amp0.local.stack import Stack

    # What the server warns of, such as a change of policy, is the story itself.
    logging.getLogger("amp0").setLevel(logging.ERROR)
    started = time.perf_counter()
    story = _Json() if as_json else _Told()
    with Stack.on_free_ports(node_port=0) as stack:
        story.begin(stack.chain_url, stack.wamp_url, time.perf_counter() - started)
        outcome = walk(stack, story)
        story.end(outcome, stack.network.policy_asset())


class _Told:
    """For people: each exchange on a line, as it happens."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False, soft_wrap=True)

    def begin(self, chain: str, wamp: str, seconds: float) -> None:
        self._console.print("[bold]The AMP0 day, on this machine[/bold]")
        self._console.print(
            f"A Liquid regtest chain at {chain} and an AMP0 server at {wamp}, ready in {seconds:.1f} s."
        )

    def __call__(self, event: Step | Exchange) -> None:
        from rich.markup import escape

        from amp0.local.demo import Step

        if isinstance(event, Step):
            self._console.print(f"\n[bold]{event.number}. {event.title}[/bold]")
            return
        self._console.print(
            f"   [cyan]{event.whom:<11}[/cyan] {escape(event.asked)}\n"
            f"   [green]{'→':>11}[/green] {escape(event.answered)} [dim]{_duration(event.seconds)}[/dim]"
        )

    def end(self, outcome: Outcome, policy_asset: str) -> None:
        self._console.print(f"\n[bold]The venue's payment, confirmed in block {outcome.height}[/bold]\n")
        assets = [policy_asset, outcome.asset_id]
        names = {policy_asset: "L-BTC", outcome.asset_id: "the asset"}
        print_table(
            ["who", "asset", "satoshi"],
            [
                (who, names[asset], balances.get(asset, 0))
                for who, balances in (("the venue", outcome.balances), ("the payee", outcome.recipient_balances))
                for asset in assets
            ],
        )
        self._console.print(f"txid  {outcome.txid}")
        self._console.print(f"fee   {outcome.fee} satoshi")
        register = outcome.register
        self._console.print("\n[bold]The issuer's register of holders[/bold]\n")
        rows = [*register.holdings.items(), ("in circulation", register.in_circulation)]
        print_table(["who", "satoshi"], rows)
        self._console.print(
            f"\nThe day took {outcome.seconds:.1f} s. Next: amp0 stack run, docs/venue.md and docs/issuer.md."
        )


class _Json:
    """For programs: one object at the end."""

    def __init__(self) -> None:
        self._object: dict[str, Any] = {"steps": []}

    def begin(self, chain: str, wamp: str, seconds: float) -> None:
        self._object.update(chain=chain, wamp=wamp, ready_seconds=round(seconds, 3))

    def __call__(self, event: Step | Exchange) -> None:
        from amp0.local.demo import Step

        steps = self._object["steps"]
        if isinstance(event, Step):
            steps.append({"number": event.number, "title": event.title, "exchanges": []})
            return
        steps[-1]["exchanges"].append(
            {
                "whom": event.whom,
                "asked": event.asked,
                "answered": event.answered,
                "seconds": round(event.seconds, 6),
            }
        )

    def end(self, outcome: Outcome, policy_asset: str) -> None:
        self._object.update(
            amp_id=outcome.amp_id,
            policy_asset=policy_asset,
            asset_id=outcome.asset_id,
            txid=outcome.txid,
            height=outcome.height,
            fee=outcome.fee,
            balances=outcome.balances,
            recipient_balances=outcome.recipient_balances,
            register={
                "asset_id": outcome.register.asset_id,
                "holdings": outcome.register.holdings,
                "in_circulation": outcome.register.in_circulation,
                "refused": outcome.register.refused,
            },
            seconds=round(outcome.seconds, 3),
        )
        print_json(self._object)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
