/* trouble */
#include "relaypool.h"
