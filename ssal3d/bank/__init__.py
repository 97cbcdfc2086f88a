"""The bank of objects and backgrounds that training pastes from, as generations on disk."""

from typing import TYPE_CHECKING

from ssal3d.exports import lazy_exports

if TYPE_CHECKING:
    from ssal3d.bank.annotations import LabelledObjects as LabelledObjects
    from ssal3d.bank.box_bank import BoxBank as BoxBank
    from ssal3d.bank.cutting import cut_labelled_objects as cut_labelled_objects
    from ssal3d.bank.generation import Generation as Generation
    from ssal3d.bank.generation_folder import GenerationFolder as GenerationFolder
    from ssal3d.bank.hook import PasteBankHook as PasteBankHook
    from ssal3d.bank.paste import PasteSettings as PasteSettings
    from ssal3d.bank.paste import Scene as Scene
    from ssal3d.bank.paste import paste_objects as paste_objects
    from ssal3d.bank.transforms import LoadBackground as LoadBackground
    from ssal3d.bank.transforms import PasteObjects as PasteObjects

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        'annotations': ['LabelledObjects'],
        'box_bank': ['BoxBank'],
        'cutting': ['cut_labelled_objects'],
        'generation': ['Generation'],
        'generation_folder': ['GenerationFolder'],
        'hook': ['PasteBankHook'],
        'paste': ['PasteSettings', 'Scene', 'paste_objects'],
        'transforms': ['LoadBackground', 'PasteObjects'],
    },
)
